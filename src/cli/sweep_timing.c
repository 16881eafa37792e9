/* `kvlab sweep --timing`: the time table. */
#include "cli/sweep_timing.h"

#include "base/alloc.h"
#include "base/json.h"
#include "base/machine.h"
#include "cli/cmd.h"
#include "cli/keep.h"
#include "protocol/timing.h"

enum { prompt_tokens = 512, new_tokens = 64, repetitions = 7 };

static const char published_claim[] = "the published \"92.9 % better TTFT\" is an artefact: its baseline's "
                                      "TTFT was not measured but set to 0.1 x the time "
                                      "of a whole generation (5 to 10 decode steps), the compressed one was "
                                      "read before any compression took place";

static void print_budget(kvl_str *out, const kvl_policy *p) {
    if (p->size_tok != 0) {
        kvl_str_printf(out, " size %llu", (unsigned long long)p->size_tok);
    } else if (p->n_bytes != 0) {
        kvl_str_puts(out, " ");
        kvl_bytes_text(out, p->n_bytes);
    } else if (!kvl_press_is_outcome(p->tree)) {
        kvl_str_printf(out, " keep %g", p->keep_ratio);
    }
}

static void write_table(kvl_str *out, const kvl_timing *t, const kvl_policy *policies, size_t n) {
    kvl_str_printf(
        out,
        "prompt %zu tokens, compressed once after the prefill, then %zu tokens decoded; medians of %d "
        "interleaved repetitions after a warm-up\n\n",
        t[0].n_prompt, t[0].n_new, (int)repetitions);
    kvl_str_printf(out, "%-28s %10s %12s %10s %10s %10s %12s %12s\n", "policy", "TTFT ms", "compress ms",
                   "TPOT ms", "tokens/s", "KV KiB", "KV peak KiB", "peak RSS MiB");
    for (size_t i = 0; i < n; i++) {
        kvl_str name = {0};
        kvl_policy_press_text(&policies[i], &name);
        if (!kvl_policy_press(&policies[i])->is_identity) {
            print_budget(&name, &policies[i]);
        }
        kvl_str_printf(out, "%-28s %10.3f %12.3f %10.4f %10.1f %10.1f %12.1f %12.1f\n", kvl_str_text(&name),
                       t[i].ttft_ns * 1e-6, t[i].compress_ns * 1e-6, t[i].tpot_ns * 1e-6, t[i].tokens_per_s,
                       (double)t[i].kv_bytes_live / 1024, (double)t[i].kv_bytes_peak / 1024,
                       (double)t[i].peak_rss_bytes / 1048576);
        kvl_str_free(&name);
    }
    kvl_str_printf(
        out,
        "\nTTFT: from the call to the first new token in the caller's hands; it ends before the "
        "compression, so no policy can change it but those that act inside the prompt (block).\n%s\n",
        published_claim);
}

static kvl_status write_lines(kvl_str *out, const kvl_timing *t, const kvl_policy *policies, size_t n,
                              const kvl_engine *engine, kvl_err *err) {
    for (size_t i = 0; i < n; i++) {
        kvl_str policy = {0};
        kvl_policy_text(&policies[i], &policy);
        json_t *o = json_pack(
            "{s:s, s:s, s:s, s:I, s:I, s:f, s:f, s:f, s:f, s:I, s:I, s:I, s:s, s:I, s:I}", "schema",
            "kvlab.timing/1", "model", kvl_engine_model(engine)->name, "policy", kvl_str_text(&policy),
            "n_prompt", (json_int_t)t[i].n_prompt, "n_new", (json_int_t)t[i].n_new, "ttft_ns", t[i].ttft_ns,
            "compress_ns", t[i].compress_ns, "tpot_ns", t[i].tpot_ns, "tokens_per_s", t[i].tokens_per_s,
            "kv_bytes_live", (json_int_t)t[i].kv_bytes_live, "kv_bytes_peak", (json_int_t)t[i].kv_bytes_peak,
            "peak_rss_bytes", (json_int_t)t[i].peak_rss_bytes, "isa", kvl_engine_isa(engine), "threads",
            (json_int_t)kvl_engine_threads(engine), "n_repetitions", (json_int_t)repetitions);
        kvl_str_free(&policy);
        KVL_TRY(kvl_json_write(out, o, false, err));
    }
    return KVL_OK;
}

json_t *kvl_sweep_timing_options(kvl_engine *engine, const kvl_sample *sample, const kvl_policy *policies,
                                 size_t n_policies) {
    kvl_machine machine;
    kvl_machine_read(&machine, "");
    return json_pack("{s:s, s:I, s:I, s:I, s:I, s:o, s:o}", "cpu", machine.cpu, "threads",
                     (json_int_t)kvl_engine_threads(engine), "n_prompt", (json_int_t)prompt_tokens, "n_new",
                     (json_int_t)new_tokens, "n_repetitions", (json_int_t)repetitions, "text",
                     kvl_keep_hash(sample->hash), "policies",
                     kvl_keep_policies(policies, n_policies, &kvl_engine_model(engine)->shape));
}

kvl_status kvl_sweep_timing(kvl_str *out, kvl_str *lines, kvl_engine *engine, const kvl_sample *sample,
                            const kvl_policy *policies, size_t n_policies, bool is_jsonl, kvl_err *err) {
    size_t n = n_policies + 1;
    kvl_policy *all = kvl_calloc(n, sizeof *all);
    kvl_timing *timings = kvl_calloc(n, sizeof *timings);
    kvl_status status = KVL_OK;
    if (all == NULL || timings == NULL) {
        KVL_GO(kvl_fail_nomem(err, "timing"));
    }
    kvl_policy_init(&all[0]);
    KVL_GO(kvl_policy_parse(&all[0], "none", err));
    for (size_t i = 0; i < n_policies; i++) {
        all[i + 1] = policies[i];
    }
    kvl_timing_config config = {.sample = sample,
                                .policies = all,
                                .n_policies = n,
                                .n_prompt = prompt_tokens,
                                .n_new = new_tokens,
                                .n_repetitions = repetitions};
    KVL_GO(kvl_timing_run(timings, engine, &config, err));
    KVL_GO(write_lines(lines, timings, all, n, engine, err));
    if (is_jsonl) {
        kvl_str_puts(out, kvl_str_text(lines));
    } else {
        write_table(out, timings, all, n);
    }
    status = kvl_str_check(out, "timing", err);
done:
    kvl_free(all);
    kvl_free(timings);
    return status;
}
