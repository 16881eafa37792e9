/* H10: compression improves time to first token by 92.9 %. */
#include "explain/arms.h"

static void judge(const kvl_evidence *ev, kvl_judgement *out) {
    const kvl_time_facts *times = &ev->times;
    const double half = 0.5;
    kvl_estimate gain = kvl_no_estimate();
    if (times->n_rounds != 0) {
        double saved[KVL_MAX_TEXTS];
        for (size_t i = 0; i < times->n_rounds; i++) {
            saved[i] = times->full_ns[i] - times->compressed_ns[i];
        }
        gain = kvl_bootstrap_ratio(times->resamples, saved, times->full_ns, half);
    }
    kvl_find(out, gain, "share of TTFT", KVL_ABOVE, half, true,
             "TTFT saved by KnormPress at 0.75, %zu prompt tokens, %zu rounds in turn", times->n_prompt,
             times->n_rounds);
    if (times->n_rounds != 0) {
        kvl_estimate token = kvl_no_estimate();
        token.mean = token.low = token.high = 1 - times->decode_compressed_ns / times->decode_full_ns;
        kvl_find(out, token, "share of TPOT", KVL_NO_SIDE, 0, false,
                 "saved of a decoded token behind that prompt (medians)");
    }
}

extern const kvl_hypothesis kvl_hypothesis_ttft;
const kvl_hypothesis kvl_hypothesis_ttft = {
    .id = "H10",
    .name = "92.9 % better TTFT",
    .claim = "compression improves time to first token by 92.9 %",
    .prediction = "more than half of TTFT is saved (generous: the claim is 92.9 %)",
    .experiment =
        "prefill of one prompt with and without compression, in turns; TTFT is the moment the first "
        "token is there",
    .wants_times = true,
    .judge = judge,
};
