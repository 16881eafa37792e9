/* How each number was made: commands, protocol, what the words mean, and the program. */
#include "report/phrases.h"
#include "report/cells.h"

static bool has(const kvl_content *c) {
    (void)c;
    return true;
}

/* ---- commands ---- */

static void put_command(kvl_page *p, const char *what_en, const char *what_zh, const char *command) {
    if (command != NULL && command[0] != '\0') {
        kvl_str_printf(p->out, "<p>%s</p>\n", kvl_word(p->lang, what_en, what_zh));
        kvl_page_command(p, command);
    }
}

static void put_commands(kvl_page *p) {
    const kvl_content *c = p->content;
    put_command(p, "The curves and tables:", "曲线与表格：", c->sweep != NULL ? c->sweep->command : NULL);
    put_command(p, "The cause and the verdicts:", "原因与判定：",
                c->cause != NULL ? c->cause->command : NULL);
    put_command(p, "The text that is looked at token by token:", "逐 token 观察的文本：",
                c->portrait != NULL ? c->portrait->command : NULL);
    put_command(p, "The times:", "时间：", c->time != NULL ? c->time->command : NULL);
    put_command(p, "The speed tests:", "速度测试：", c->bench != NULL ? c->bench->command : NULL);
    put_command(p, "The retrieval grid:", "检索网格：", c->needle != NULL ? c->needle->command : NULL);
    put_command(p, "The recommendation:", "推荐：", c->choice != NULL ? c->choice->command : NULL);
}

/* ---- words ---- */

static const struct {
    const char *term_en, *term_zh, *text_en, *text_zh;
} terms[] = {
    {"PPL", "PPL",
     "Perplexity: exp of the mean negative log-likelihood (NLL, in nats) over exactly the scored tokens.",
     "困惑度：恰好在计分 token 上的负对数似然（NLL，单位 nats）均值的指数。"},
    {"ΔNLL", "ΔNLL",
     "NLL of a policy minus that of the full cache on the same tokens, nats per token. 0.01 is about 1 % in "
     "perplexity.",
     "相同 token 上某策略的 NLL 减去完整缓存的 NLL，单位 nats/token。0.01 约合困惑度的 1 %。"},
    {"95 % interval", "95 % 置信区间",
     "Texts, not tokens, are taken as independent. Up to 19 texts: Student's t; from 20 on a bootstrap over "
     "them; of one long text over its blocks.",
     "独立的是文本，而不是 token。不超过 19 篇时用 Student t；20 "
     "篇起对文本做自助抽样；只有一篇长文本时对其分块抽样。"},
    {"p (Holm)", "p（Holm）", "Two-sided, against no difference, adjusted for all rows of the table.",
     "双侧，检验“没有差别”，按表中全部行校正。"},
    {"Detectable", "可检出",
     "The smallest true difference that so many texts would show with 80 % power. Where nothing was found, "
     "less than this may still be there.",
     "以这些文本、80 % 的功效能够显示的最小真实差别。没有发现差别时，仍可能有比它更小的差别。"},
    {"Affected", "受影响", "The scored tokens whose query read a cache that had been compressed before.",
     "其查询读取过已被压缩的缓存的计分 token。"},
    {"Keep", "保留率",
     "Share of the cache entries that a compression leaves; what was in fact kept, per head, is counted in "
     "the tables.",
     "一次压缩所留下的缓存条目比例；每个头实际保留多少，见表格。"},
    {"KV bytes", "KV 字节",
     "Memory that keys and values hold at the end of a text, mean over texts. Evicted entries are gone and "
     "their memory is given back.",
     "文本结束时键与值占用的内存，对文本取平均。被驱逐的条目真正移除，内存归还。"},
    {"Stage", "阶段",
     "Best: not told apart from the best setting. Plateau: steps towards it are within their intervals. "
     "Explosion and decline: worse than it, on the side of less and of more compression.",
     "最佳区间：与最佳设置区分不开。平台区：向它靠近的每一步都在区间之内。爆炸区与衰退区：比它差，分别在压缩"
     "较轻和较重"
     "的一侧。"},
    {"TTFT, TPOT", "TTFT、TPOT",
     "Time from the call to the first new token, and time per token after it: medians of interleaved "
     "repetitions, read from a clock when the token is there.",
     "从调用到第一个新 token 的时间，以及其后每个 token 的时间：交替重复的中位数，在 token 产生时读取时钟。"},
};

static void put_terms(kvl_page *p) {
    kvl_str_printf(p->out, "<h3>%s</h3>\n<dl class=\"terms\">\n",
                   kvl_word(p->lang, "What the words mean", "名词的含义"));
    for (size_t i = 0; i < sizeof terms / sizeof terms[0]; i++) {
        kvl_str_printf(p->out, "<dt>%s</dt>\n<dd>%s</dd>\n",
                       kvl_word(p->lang, terms[i].term_en, terms[i].term_zh),
                       kvl_word(p->lang, terms[i].text_en, terms[i].text_zh));
    }
    kvl_str_puts(p->out, "</dl>\n");
}

/* ---- all ---- */

static void put_labelled(kvl_page *p, const char *label, const char *text) {
    if (text != NULL && text[0] != '\0') {
        kvl_str words = {0};
        kvli_put_protocol(&words, p->lang, text);
        kvl_str_printf(p->out, "<p><strong>%s</strong> ", label);
        kvl_html_text(p->out, kvl_str_text(&words));
        kvl_str_puts(p->out, "</p>\n");
        kvl_str_free(&words);
    }
}

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_content *c = p->content;
    if (c->sweep != NULL) {
        put_labelled(p, kvl_word(p->lang, "Protocol.", "协议。"), c->sweep->protocol);
        put_labelled(p, kvl_word(p->lang, "Computed by.", "计算环境。"), c->sweep->how);
    }
    put_labelled(p, kvl_word(p->lang, "Comparable group.", "可比组。"), c->group);
    put_commands(p);
    put_terms(p);
    return kvl_str_check(p->out, "page", err);
}

const kvl_section kvli_section_made = {.id = "made",
                                       .title_en = "How each number was made",
                                       .title_zh = "每个数字如何得来",
                                       .has = has,
                                       .write = write};
