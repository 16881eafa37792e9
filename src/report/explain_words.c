/* What explain records, in Chinese. */
#include "report/explain_words.h"

#include "report/phrases.h"

/* ---- fixed words ---- */

const char *kvli_claim_words(kvl_lang lang, const char *id, const char *otherwise) {
    static const kvli_phrase list[] = {
        {"H1", "范数略低于最高者的键承载语义；恰好驱逐它们会使困惑度激增"},
        {"H2", "缺少少量键的缓存给出自信的错误预测，缺少大量键的缓存给出谨慎的预测：相互冲突的信息比缺失的信"
               "息更糟"},
        {"H3", "驱逐约四分之一可去除噪声：保留率 0.75 是最佳设置"},
        {"H4", "曲线源于可学习位置编码；旋转位置编码 (RoPE) 会很稳健"},
        {"H5", "大模型有冗余：轻度压缩对其无害"},
        {"H6", "已发表的分析与论文的差别只在于困惑度的计算方式"},
        {"H7", "曲线只是因为达到 32 个条目就触发压缩才出现"},
        {"H8", "曲线取决于最近几个 token 中哪些仍可见，而不取决于范数或语义"},
        {"H9", "轻度压缩（保留率 0.9 至 0.95）普遍是最差的配置"},
        {"H10", "压缩使首 token 延迟 (TTFT) 改善 92.9 %"},
        {"H11", "按低范数选择会自行保留开头的 token；只保留最新 token 则会丢掉它们"},
        {"H12", "低范数的键得到较多注意力（KnormPress 的前提）"},
    };
    return kvli_phrase_find(lang, list, sizeof list / sizeof list[0], id, otherwise);
}

void kvli_put_texts(kvl_str *out, kvl_lang lang, const char *texts) {
    static const kvli_phrase list[] = {{"* samples, *", "* 个样本，*"}};
    kvli_phrase_put(out, lang, list, sizeof list / sizeof list[0], texts != NULL ? texts : "");
}

const char *kvli_outcome_words(kvl_lang lang, const char *outcome) {
    static const kvli_phrase list[] = {{"as predicted", "符合预测"},
                                       {"against", "与预测相反"},
                                       {"undecided", "未定"},
                                       {"no prediction", "无预测"}};
    return kvli_phrase_find(lang, list, sizeof list / sizeof list[0], outcome, outcome);
}

/* ---- findings ---- */

static const kvli_phrase findings[] = {
    /* reasons of verdicts */
    {"against it: *", "反对的结果：*"},
    {"undecided: *", "未定：*"},
    {"not run here: *", "此处未运行：*"},
    {"all * deciding findings are as predicted", "全部 * 项决定性结果均符合预测"},
    {"the model is rotary, keys are at their true positions, and the spike is there",
     "模型使用旋转位置编码，键位于真实位置，尖峰依然存在"},
    {"the model has no rotary positions: what they would change is not seen",
     "模型不用旋转位置编码：看不出它会带来什么改变"},
    {"rotary positions, but no clear spike or none at all: nothing shows what learned ones would do",
     "旋转位置编码，但没有明确的尖峰：看不出可学习位置编码会怎样"},
    {"nothing decides", "没有决定性结果"},
    {"one model was run: compare the spike at the same cap over models of one family",
     "只运行了一个模型：需比较同一系列不同规模模型在相同上限下的尖峰"},
    /* H1 */
    {"evicting the norm band 95-98 % once, above evicting as many at random",
     "一次性驱逐范数 95–98 % 区段，相对于随机驱逐同样数量"},
    {"the band 95-98 % above the band 98-100 %, per evicted key",
     "95–98 % 区段相对于 98–100 % 区段，每个被驱逐的键"},
    {"the band 95-98 % above the band 75-80 %, per evicted key",
     "95–98 % 区段相对于 75–80 % 区段，每个被驱逐的键"},
    {"KnormPress once at 0.95 above once at 0.5: a U-curve without a schedule",
     "KnormPress 一次性压缩，0.95 相对于 0.5：没有反复压缩时的 U 形曲线"},
    {"the worst of 20 bands of 5 %: *", "20 个 5 % 区段中最差者：*"},
    /* H2 */
    {"(a) NLL minus entropy, 0.95 above 0.5", "(a) NLL 减熵，0.95 相对于 0.5"},
    {"(a) top-1 confidence minus accuracy, 0.95 above 0.5", "(a) top-1 置信度减准确率，0.95 相对于 0.5"},
    {"(b) predictive entropy, 0.3 above 0.95", "(b) 预测熵，0.3 相对于 0.95"},
    {"(b) top-1 confidence, 0.95 above 0.3", "(b) top-1 置信度，0.95 相对于 0.3"},
    {"(c) that gap under priorities drawn once at random, as a share of the gap under norms",
     "(c) 优先级一次性随机抽取时的同一差距，占按范数时差距的比例"},
    /* H3 */
    {"keep 0.75 above the best of the curve here, *", "保留率 0.75 相对于此处曲线的最佳点 *"},
    {"keep * above keep *", "保留率 * 相对于保留率 *"},
    {"removing the quarter of highest norms once, above removing a twentieth",
     "一次性移除范数最高的四分之一，相对于移除二十分之一"},
    /* H4 */
    {"the spike (0.95 above the best) with every key at its true position, rotary positions",
     "每个键都在真实位置时的尖峰（0.95 相对于最佳），旋转位置编码"},
    {"the spike (0.95 above the best) with every key at its true position, learned positions",
     "每个键都在真实位置时的尖峰（0.95 相对于最佳），可学习位置编码"},
    {"the spike (0.95 above the best) with every key at its true position, no positions",
     "每个键都在真实位置时的尖峰（0.95 相对于最佳），无位置编码"},
    {"0.95, all layers: new tokens at the length of the cache, above their true positions",
     "0.95，全部层：新 token 的位置取缓存长度，相对于真实位置"},
    {"0.95, all layers: keys rotated to their slots, above their true positions",
     "0.95，全部层：键旋转到其存放位置，相对于真实位置"},
    {"the same at 0.5", "保留率 0.5 时的同一比较"},
    {"0.95: layer 0 compressed too, above layer 0 left alone", "0.95：第 0 层也压缩，相对于不压缩第 0 层"},
    {"0.9: survivors stored by score, above stored by time (rounding only)",
     "0.9：保留条目按得分存放，相对于按时间存放（只差舍入）"},
    /* H5 to H7 */
    {"the spike at cap 32 with * million parameters", "上限 32 时的尖峰，参数量 * 百万"},
    {"the spike in pooled NLL of matched tokens that read a compressed cache",
     "读取压缩缓存的相同 token 上，合并 NLL 的尖峰"},
    {"the spike in the mean of perplexities, same tokens", "相同 token 上，困惑度均值的尖峰"},
    {"compressed once instead of step by step: 0.95 above 0.5", "一次性而非逐步压缩：0.95 相对于 0.5"},
    {"the spike at cap *: 0.95 above the better of 0.5 and 0.3",
     "上限 * 时的尖峰：0.95 相对于 0.5 与 0.3 中较好者"},
    /* H8 */
    {"the spike: 0.95 above the best of the curve", "尖峰：0.95 相对于曲线的最佳点"},
    {"(a) removed at 0.95 by protecting the newest 4 keys", "(a) 0.95 处保护最新 4 个键所消除的部分"},
    {"(b) priorities drawn once at random: 0.95 above 0.5", "(b) 优先级一次性随机抽取：0.95 相对于 0.5"},
    {"(b) priorities drawn anew at every compression: 0.95 above 0.5",
     "(b) 每次压缩重新随机抽取优先级：0.95 相对于 0.5"},
    {"(b) keeping the highest norms: 0.95 above 0.5", "(b) 保留最高范数：0.95 相对于 0.5"},
    {"(b) KnormPress above priorities drawn anew, at 0.95", "(b) 0.95 处 KnormPress 相对于重新抽取的优先级"},
    {"(c) keeping the newest: 0.95 above 0.3", "(c) 保留最新：0.95 相对于 0.3"},
    {"(d) 16 entries kept: compressed every step above every 16 steps",
     "(d) 保留 16 个条目：每步压缩相对于每 16 步压缩"},
    {"(e) 24 entries on average: compressed every step above every 16 steps",
     "(e) 平均 24 个条目：每步压缩相对于每 16 步压缩"},
    {"(f) keep 0.5: the step after a compression above the last before the next",
     "(f) 保留率 0.5：压缩后的第一步相对于下次压缩前的最后一步"},
    {"(f) the same when the newest are kept", "(f) 保留最新 token 时的同一比较"},
    {"(g) 0.95: the last third of a text above the first", "(g) 0.95：文本后三分之一相对于前三分之一"},
    {"(g) 0.5: the last third of a text above the first", "(g) 0.5：文本后三分之一相对于前三分之一"},
    {"(h) one token under all settings of the curve: NLL with one standard deviation more of lags 1-4 "
     "missing",
     "(h) 同一 token 在曲线所有设置下：滞后 1–4 的缺失每多一个标准差时的 NLL"},
    {"(h) the same with the norm rank of what was evicted last, each with the other held",
     "(h) 同上，对最近被驱逐者的范数排名（两者互相控制）"},
    /* H9 */
    {"KnormPress step by step: 0.95 above 0.5", "KnormPress 逐步压缩：0.95 相对于 0.5"},
    {"with the newest 8 keys protected: 0.95 above 0.5", "保护最新 8 个键：0.95 相对于 0.5"},
    {"keeping the newest: 0.95 above 0.3", "保留最新：0.95 相对于 0.3"},
    {"priorities drawn anew at every compression: 0.95 above 0.5",
     "每次压缩重新随机抽取优先级：0.95 相对于 0.5"},
    {"KnormPress once after the context: 0.95 above 0.3", "KnormPress 在上下文后一次性压缩：0.95 相对于 0.3"},
    /* H10 to H12 */
    {"TTFT saved by KnormPress at 0.75, * prompt tokens, * rounds in turn",
     "KnormPress 0.75 节省的 TTFT，提示 * 个 token，交替 * 轮"},
    {"saved of a decoded token behind that prompt (medians)", "该提示之后每个解码 token 的节省（中位数）"},
    {"KnormPress at 0.5 still holds the first token at the end of a text",
     "文本结束时 KnormPress 0.5 仍保留首个 token"},
    {"what 4 forced sinks gain when the newest are kept", "保留最新 token 时，强制保留 4 个 sink 的收益"},
    {"what 4 forced sinks gain under KnormPress", "KnormPress 下强制保留 4 个 sink 的收益"},
    {"the first gain above the second", "前一收益相对于后一收益"},
    {"key norm with mean attention received, compressed layers", "键范数与平均所得注意力，被压缩的层"},
    {"the same in the layers left alone", "不压缩的层中的同一相关"},
    {"attention lost by evicting the half of highest norms, above a random half",
     "驱逐范数最高的一半所损失的注意力，相对于随机一半"},
    {"the same above the half that received least (paper: attention loss)",
     "同上，相对于得到注意力最少的一半（论文中的 attention loss）"},
};

bool kvli_put_finding(kvl_str *out, kvl_lang lang, const char *what) {
    return kvli_phrase_put(out, lang, findings, sizeof findings / sizeof findings[0], what);
}
