/* Terms of the field in English and Chinese. */
#include "report/terms.h"

#include "report/phrases.h"

const char *kvl_term_stage(kvl_lang lang, kvl_stage stage) {
    static const char *const zh[KVL_N_STAGES] = {"基线", "爆炸区", "平台区", "最佳区间", "衰退区"};
    return lang == KVL_ZH && (unsigned)stage < KVL_N_STAGES ? zh[stage] : kvl_stage_name(stage);
}

const char *kvl_term_verdict(kvl_lang lang, const char *verdict) {
    static const kvli_phrase list[] = {
        {"supported", "得到支持"}, {"refuted", "被否定"}, {"cannot tell here", "无法判断"}};
    return kvli_phrase_find(lang, list, sizeof list / sizeof list[0], verdict, verdict);
}

const char *kvl_term_hypothesis(kvl_lang lang, const char *id, const char *name) {
    static const kvli_phrase list[] = {
        {"H1", "中等范数的关键 token"},
        {"H2", "信息冲突比信息缺失更糟"},
        {"H3", "去噪，最优保留率为 0.75"},
        {"H4", "可学习位置编码脆弱"},
        {"H5", "模型规模"},
        {"H6", "评测方法"},
        {"H7", "阈值缺陷"},
        {"H8", "近期 token 与刷新周期"},
        {"H9", "保留率 0.9–0.95 总是最差"},
        {"H10", "TTFT 改善 92.9 %"},
        {"H11", "注意力汇聚点 (sink)"},
        {"H12", "低键范数即高注意力"},
    };
    return kvli_phrase_find(lang, list, sizeof list / sizeof list[0], id, name);
}

const char *kvl_term_unit(kvl_lang lang, const char *unit) {
    static const kvli_phrase list[] = {
        {"nats/token per key", "nats/token（每个键）"},
        {"nats/token per sd", "nats/token（每个标准差）"},
        {"probability", "概率"},
        {"rank correlation", "秩相关系数"},
        {"share", "占比"},
        {"share of TPOT", "占 TPOT 之比"},
        {"share of TTFT", "占 TTFT 之比"},
        {"share of attention", "占注意力之比"},
        {"share of heads", "占注意力头之比"},
        {"share of the best PPL", "占最佳 PPL 之比"},
        {"share of the spike", "占尖峰之比"},
    };
    return kvli_phrase_find(lang, list, sizeof list / sizeof list[0], unit, unit);
}
