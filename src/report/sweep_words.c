/* What a sweep records of its protocol and its texts, in Chinese. */
#include "report/phrases.h"

#include <string.h>

/* Of a protocol's line: what stands between commas and semicolons. */
static const kvli_phrase clauses[] = {
    {"stream protocol: * samples", "stream 协议：* 个样本"},
    {"stream protocol: * sample", "stream 协议：* 个样本"},
    {"at most * tokens each", "每个至多 * 个 token"},
    {"prefill per sample", "每个样本各自预填充"},
    {"later steps scored", "其后各步计分"},
    {"prefill *", "预填充 *"},
    {"scored from step *", "从第 * 步起计分"},
    {"one token per step", "每步一个 token"},
    {"every step scored", "每步都计分"},
    {"* protocol: * windows of * samples", "* 协议：* 个窗口，取自 * 个样本"},
    {"* protocol: * windows of * sample", "* 协议：* 个窗口，取自 * 个样本"},
    {"* protocol: * window of * sample", "* 协议：* 个窗口，取自 * 个样本"},
    {"window *", "窗口 *"},
    {"stride *", "步长 *"},
    {"scored: positions * to * of each (* tokens)", "计分：每个窗口的第 * 至 * 位（共 * 个 token）"},
    {"scored: * (* tokens)", "计分：*（共 * 个 token）"},
    {"the tokens that no window before has scored", "此前窗口没有计分的 token"},
    {"scored: every token", "计分：每个 token"},
    {"the first from BOS or else EOS (* tokens)", "首个由 BOS（没有则 EOS）预测（共 * 个 token）"},
    {"no BOS", "无 BOS"},
    {"BOS first in every window", "每个窗口以 BOS 开头"},
    {"BOS (or else EOS) first in the first window of a text", "文本的首个窗口以 BOS（没有则 EOS）开头"},
    {"BOS first in the first window of a text", "文本的首个窗口以 BOS 开头"},
    {"BOS first", "以 BOS 开头"},
    {"* (--bos *)", "*（--bos *）"},
    {"PPL: mean of the samples' (as published)", "PPL：各样本 PPL 的均值（同已发表的分析）"},
    {"PPL: exp of the mean NLL of all scored tokens", "PPL：全部计分 token 平均 NLL 的指数"},
    {"keep 1: one pass over at most * tokens (as published)",
     "保留率 1：一次前向，至多 * 个 token（同已发表的分析）"},
    {"ΔNLL: against the same tokens", "ΔNLL：相对于同一批 token"},
    {"keep 1: the same windows", "保留率 1：同样的窗口"},
    {"keep 1: the same loop on the same tokens", "保留率 1：同一批 token 上的同一循环"},
    {"nothing evicted", "不驱逐"},
    /* of the line on how it was computed */
    {"* threads", "* 个线程"},
    {"* thread", "* 个线程"},
    {"* (stored *)", "*（存储为 *）"},
    {"cache *", "缓存 *"},
    {"model hash *", "模型哈希 *"},
    {"identity check passed", "恒等检查通过"},
    {"* tokens computed", "计算了 * 个 token"},
    {"* if every cell ran alone", "若各单元单独运行则为 *"},
    {"in * waves", "分 * 批"},
};

static const kvli_phrase notes[] = {
    {"shorter than * tokens, used whole: *", "短于 * 个 token，整篇使用：*"},
    {"the preset asks for * tokens per sample; cut to the model's context of *",
     "预设要求每个样本 * 个 token；按模型的上下文截为 *"},
    {"left out, too short for a window: *", "太短，不足一个窗口，已略去：*"},
    {"* of * windows have no context in front of what they score: policies that act once do not act there",
     "* 个窗口（共 * 个）在计分部分之前没有上下文：只执行一次的策略在那里不起作用"},
    {"statistics of the model: *, of * tokens (text:hash:tokens): *",
     "模型的统计量：*，来自 * 个 token（文本:哈希:token 数）：*"},
    {"* of * policies never act on texts of at most * tokens: nothing evicted",
     "* 个策略（共 * 个）在至多 * 个 token 的文本上从不起作用：没有驱逐"},
    {"samples of other sweeps are in it too: *; the protocol's line and the command are the newest sweep's",
     "其中还有其他扫描的样本：* 个；协议一行与命令属于最新的扫描"},
    {"left out, without a cell on each of the * texts stored: * of * policies; the sweep was stopped, or "
     "others "
     "had other texts",
     "未在已存的全部 * 个文本上都有单元，已略去：* 个策略（共 * 个）；扫描中途停止，或其他扫描用了别的文本"},
    {"* is a plug-in: *", "* 是插件：*"},
    {"not run again: *", "不再重复运行：*"},
    {"*: * and * tokens, cut to * and *: the model's context has *",
     "*：* 与 * 个 token，截为 * 与 *：模型的上下文为 *"},
    {"*: windows of * tokens, cut to the model's context of *", "*：* 个 token 的窗口，按模型的上下文截为 *"},
    {"the original reads WikiText-2 train in fp16; here the test split stands in, in f32",
     "原实验以 fp16 读取 WikiText-2 的 train 部分；这里以 test 部分代替，精度 f32"},
    {"the original used other PG-19 books (longer than 50,000 characters); here: the first five of the test "
     "split",
     "原实验使用另一些 PG-19 书籍（长于 50,000 字符）；这里用 test 部分的前五本"},
};

void kvli_put_note(kvl_str *out, kvl_lang lang, const char *text) {
    (void)kvli_phrase_put(out, lang, notes, sizeof notes / sizeof notes[0], text);
}

void kvli_put_protocol(kvl_str *out, kvl_lang lang, const char *text) {
    if (lang == KVL_EN) {
        kvl_str_puts(out, text);
        return;
    }
    while (*text != '\0') {
        const char *end = text;
        while (*end != '\0' && strncmp(end, ", ", 2) != 0 && strncmp(end, "; ", 2) != 0) {
            end++;
        }
        kvl_str clause = {0};
        kvl_str_append(&clause, text, (size_t)(end - text));
        (void)kvli_phrase_put(out, lang, clauses, sizeof clauses / sizeof clauses[0], kvl_str_text(&clause));
        kvl_str_free(&clause);
        kvl_str_puts(out, *end == ',' ? "，" : *end == ';' ? "；" : "");
        text = *end != '\0' ? end + 2 : end;
    }
}
