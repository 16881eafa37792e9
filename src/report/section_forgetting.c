/* The forgetting map: a text whose tokens are shaded by how many heads still hold them, step by step.
 *
 * It stands in the page as text at four steps under a few policies. Beside it are the steps at which heads
 * lose tokens, from which the page's script shows any step of any policy.
 */
#include "report/mechanism.h"
#include "report/section.h"

#include "base/alloc.h"
#include "stats/order.h"

#include <math.h>
#include <string.h>

enum {
    N_SHOWN = 3,            /* policies as text */
    N_STEPS = 4,            /* of each, but of long texts the last one only */
    LONG = 1024,            /* tokens */
    MOST_TOKENS = 4096,     /* of a text that are shown, from its beginning */
    N_LEVELS = 10,          /* of shade, besides none */
    N_NEWEST = 8,           /* tokens that the summary looks at */
    MOST_CHANGES = 20,      /* of a token that the script is told */
    MOST_DATA = 500 * 1000, /* bytes for the script, but for the first policy */
};

static bool has(const kvl_content *c) {
    const kvl_portrait *p = c->portrait;
    return p != NULL && p->n_policies > 1 && p->n_tokens >= N_STEPS && kvli_portrait_heads(p) != 0;
}

/* ---- which policies ---- */

static size_t held_at_end(const kvl_portrait *p, const kvl_portrait_policy *policy) {
    size_t n = 0;
    for (size_t i = 0; i < p->n_tokens; i++) {
        n += kvli_held(p, policy, i, p->n_tokens);
    }
    return n;
}

/* The policies but for the full cache, in the order in which they are shown [n_policies - 1]: that of the
 * largest loss, that of the smallest, the one that holds least, and the others. */
static size_t order_policies(const kvl_portrait_policy **order, const kvl_portrait *p) {
    const kvl_portrait_policy *first[N_SHOWN] = {kvli_portrait_worst(p), kvli_portrait_best(p), NULL};
    size_t least = SIZE_MAX;
    size_t n = 0;
    for (size_t i = 1; i < p->n_policies; i++) {
        const size_t held = held_at_end(p, &p->policies[i]);
        if (held < least) {
            least = held;
            first[2] = &p->policies[i];
        }
    }
    for (size_t i = 0; i + 1 < p->n_policies + N_SHOWN; i++) {
        const kvl_portrait_policy *next = i < N_SHOWN ? first[i] : &p->policies[i - N_SHOWN + 1];
        bool is_new = next != NULL;
        for (size_t k = 0; k < n; k++) {
            is_new = is_new && order[k] != next;
        }
        if (is_new) {
            order[n++] = next;
        }
    }
    return n;
}

static size_t n_shown(const kvl_portrait *p) { return kvl_min_size(p->n_tokens, MOST_TOKENS); }

/* ---- the text at one step ---- */

static void put_piece(kvl_page *p, const char *piece) {
    kvl_str text = {0};
    kvli_put_piece(&text, piece);
    kvl_html_text(p->out, kvl_str_text(&text));
    kvl_str_puts(p->out, strchr(piece, '\n') != NULL ? "<br>" : "");
    kvl_str_free(&text);
}

/* What a reader sees in the shades, in words. */
static void put_summary(kvl_page *p, const kvl_portrait_policy *policy, size_t step) {
    const kvl_portrait *portrait = p->content->portrait;
    const double n_heads = (double)kvli_portrait_heads(portrait);
    const size_t n_newest = kvl_min_size(N_NEWEST, step);
    double all = 0;
    double newest = 0;
    size_t n_lost = 0;
    for (size_t i = 0; i < step; i++) {
        const size_t held = kvli_held(portrait, policy, i, step);
        all += (double)held / n_heads;
        newest += i + n_newest >= step ? (double)held / n_heads : 0;
        n_lost += held == 0;
    }
    KVL_SAY(p->out, p->lang,
            "After %zu of %zu tokens: a token is held by %.0f %% of the heads on average, the newest %zu by "
            "%.0f %%; %zu are "
            "held by none.",
            "读到第 %zu / %zu 个 token：平均每个 token 有 %.0f %% 的注意力头保留，最新 %zu 个为 %.0f %%；%zu "
            "个已无任何头保留。",
            step, portrait->n_tokens, 100 * all / (double)step, n_newest, 100 * newest / (double)n_newest,
            n_lost);
}

static void put_step(kvl_page *p, const kvl_portrait_policy *policy, size_t shown, size_t step) {
    const kvl_portrait *portrait = p->content->portrait;
    const size_t n_heads = kvli_portrait_heads(portrait);
    kvl_str_printf(p->out, "<p id=\"held-%zu-%zu\" class=\"soft\">", shown, step);
    put_summary(p, policy, step);
    kvl_str_printf(p->out, "</p>\n<p class=\"held\" role=\"img\" aria-labelledby=\"held-%zu-%zu\">", shown,
                   step);
    for (size_t i = 0; i < kvl_min_size(step, n_shown(portrait)); i++) {
        const size_t held = kvli_held(portrait, policy, i, step);
        kvl_str_printf(p->out, "<b class=\"f%zu\" title=\"%.0f %%\">",
                       (N_LEVELS * held + n_heads - 1) / n_heads, 100 * (double)held / (double)n_heads);
        put_piece(p, portrait->pieces[i]);
        kvl_str_puts(p->out, "</b>");
    }
    kvl_str_puts(p->out, "<span>");
    for (size_t i = step; i < n_shown(portrait); i++) {
        put_piece(p, portrait->pieces[i]);
    }
    kvl_str_puts(p->out, "</span></p>\n");
}

static void put_policy(kvl_page *p, const kvl_portrait_policy *policy, size_t shown) {
    const kvl_portrait *portrait = p->content->portrait;
    const double excess = kvli_portrait_excess(portrait, policy);
    kvl_str name = {0};
    kvli_put_policy(&name, policy->policy, p->lang);
    kvl_str_printf(p->out, "<details%s>\n<summary>", shown == 0 ? " open" : "");
    kvl_html_text(p->out, kvl_str_text(&name));
    if (isfinite(excess)) {
        KVL_SAY(p->out, p->lang, ", %+.3f nats per token on this text", "，此文本上每 token %+.3f nats",
                excess);
    }
    kvl_str_puts(p->out, "</summary>\n");
    for (size_t k = portrait->n_tokens > LONG ? N_STEPS : 1; k <= N_STEPS; k++) {
        put_step(p, policy, shown, portrait->n_tokens * k / N_STEPS);
    }
    kvl_str_puts(p->out, "</details>\n");
    kvl_str_free(&name);
}

static void put_legend(kvl_page *p) {
    kvl_str_printf(p->out, "<p class=\"held key\">%s", kvl_word(p->lang, "Held by: ", "保留的头："));
    for (int i = 0; i <= N_LEVELS; i += 2) {
        kvl_str_printf(p->out, "<b class=\"f%d\"> %d %% </b> ", i, 100 * i / N_LEVELS);
    }
    kvl_str_printf(p->out, "<span>%s</span></p>\n", kvl_word(p->lang, "not read yet", "尚未读到"));
}

/* ---- for the script ---- */

/* When heads lose a token: pairs of tokens read since then and heads that lost it, in at most MOST_CHANGES
 * steps. at [n_heads] scratch */
static void put_changes(kvl_str *out, const kvl_portrait *p, const kvl_portrait_policy *policy, size_t token,
                        double *at) {
    const size_t n = kvli_portrait_heads(p);
    const size_t first = kvli_portrait_first(p);
    size_t n_waiting = 0;
    bool is_first = true;
    for (size_t h = 0; h < n; h++) {
        at[h] = (double)policy->left_at[(first + h) * p->n_tokens + token];
    }
    kvl_sort(at, n);
    kvl_str_puts(out, "[");
    for (size_t h = 0; h < n && at[h] <= (double)p->n_tokens; h++) {
        const bool is_last = h + 1 == n || at[h + 1] > (double)p->n_tokens;
        n_waiting++;
        if (is_last || (at[h + 1] > at[h] && n_waiting * MOST_CHANGES >= n)) {
            kvl_str_printf(out, "%s%.0f,%zu", is_first ? "" : ",", at[h] - (double)token, n_waiting);
            n_waiting = 0;
            is_first = false;
        }
    }
    kvl_str_puts(out, "]");
}

/* The lists of all policies that there is room for; how many. */
static size_t put_data(kvl_str *out, const kvl_portrait *p, const kvl_portrait_policy *const *order, size_t n,
                       double *at) {
    size_t n_told = 0;
    for (; n_told < n; n_told++) {
        kvl_str list = {0};
        for (size_t i = 0; i < n_shown(p); i++) {
            kvl_str_puts(&list, i == 0 ? "[" : ",");
            put_changes(&list, p, order[n_told], i, at);
        }
        kvl_str_puts(&list, "]");
        if (n_told != 0 && out->len + list.len > MOST_DATA) {
            kvl_str_free(&list);
            break;
        }
        kvl_str_puts(out, n_told == 0 ? "" : ",\n");
        kvl_str_append(out, list.data, list.len);
        out->failed = out->failed || list.failed;
        kvl_str_free(&list);
    }
    return n_told;
}

/* Choice of policy and step; hidden until the script shows it. */
static void put_player(kvl_page *p, const kvl_portrait_policy *const *order, size_t n, double *at) {
    const kvl_portrait *portrait = p->content->portrait;
    kvl_str data = {0};
    kvl_str name = {0};
    const size_t n_told = put_data(&data, portrait, order, n, at);
    kvl_str_printf(p->out, "<div class=\"player\" data-heads=\"%zu\" data-lost=\"[",
                   kvli_portrait_heads(portrait));
    kvl_str_append(p->out, kvl_str_text(&data), data.len);
    kvl_str_printf(p->out, "]\" hidden>\n<label>%s <select>", kvl_word(p->lang, "Policy", "策略"));
    for (size_t i = 0; i < n_told; i++) {
        kvl_str_clear(&name);
        kvli_put_policy(&name, order[i]->policy, p->lang);
        kvl_str_puts(p->out, "<option>");
        kvl_html_text(p->out, kvl_str_text(&name));
        kvl_str_puts(p->out, "</option>");
    }
    kvl_str_printf(p->out,
                   "</select></label>\n<label>%s <input type=\"range\" min=\"1\" max=\"%zu\" value=\"%zu\"> "
                   "<output></output></label>\n</div>\n",
                   kvl_word(p->lang, "Tokens read", "已读 token"), portrait->n_tokens,
                   portrait->n_tokens / 2);
    p->out->failed = p->out->failed || data.failed || name.failed;
    kvl_str_free(&data);
    kvl_str_free(&name);
}

/* ---- all ---- */

static kvl_status write(kvl_page *p, kvl_err *err) {
    const kvl_portrait *portrait = p->content->portrait;
    const kvl_portrait_policy **order = kvl_calloc(portrait->n_policies, sizeof *order);
    double *at = kvl_calloc(kvli_portrait_heads(portrait), sizeof *at);
    if (order == NULL || at == NULL) {
        kvl_free(order);
        kvl_free(at);
        return kvl_fail_nomem(err, "forgetting map");
    }
    kvl_str text = {0};
    const size_t n = order_policies(order, portrait);
    KVL_SAY(&text, p->lang,
            "The same text (%s), as the cache remembers it: the darker a token, the more of the %zu heads "
            "that the policies "
            "act on still hold it. Struck out: no head holds it any more. Pointing at a "
            "token gives its "
            "share.",
            "同一篇文本（%s）在缓存中的留存：颜色越深，策略所作用的 %zu 个注意力头中保留该 token "
            "的越多；划去者已无任何头保留。指向某个 token 可看到其占比。",
            portrait->text, kvli_portrait_heads(portrait));
    if (portrait->n_tokens > MOST_TOKENS) {
        KVL_SAY(&text, p->lang, " Only the first %d tokens are shown.", "只显示前 %d 个 token。",
                (int)MOST_TOKENS);
    }
    kvl_page_paragraph(p, kvl_str_text(&text));
    kvl_str_free(&text);
    put_legend(p);
    put_player(p, order, n, at);
    for (size_t i = 0; i < n && i < N_SHOWN; i++) {
        put_policy(p, order[i], i);
    }
    kvl_page_command(p, portrait->command);
    kvl_free(order);
    kvl_free(at);
    return kvl_str_check(p->out, "page", err);
}

const kvl_section kvli_section_forgetting = {.id = "forgetting",
                                             .title_en = "The forgetting map",
                                             .title_zh = "遗忘图",
                                             .has = has,
                                             .write = write,
                                             .command = "kvlab sweep --preset ucurve --portrait"};
