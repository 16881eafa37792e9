/* kvlab compare: two policies, caches or models on the same tokens, from what was stored. */
#include "cli/cmd.h"
#include "cli/compare.h"
#include "cli/store_options.h"

#include "base/alloc.h"

#include <stdio.h>
#include <string.h>

static const kvl_arg table[] = {
    KVL_STORE_FILE_ARGS,
    KVL_STORE_GROUP_ARG,
    {KVL_STORE_MARGIN, 0, "margin", "NATS", "difference per token that counts as none (default 0.01)"},
    KVL_STORE_HELP_ARG,
};

/* Keeps of a group's records those of one policy; n_policies of them begin with the text or are it. */
static size_t keep_policy(kvl_records *records, const char *policy) {
    bool is_whole = false; /* the whole text goes before a beginning */
    size_t n_policies = 0;
    size_t n = 0;
    for (size_t i = 0; i < records->n; i++) {
        is_whole = is_whole || strcmp(records->items[i].policy, policy) == 0;
    }
    n_policies = is_whole;
    for (size_t i = 0; !is_whole && i < records->n; i++) {
        const char *text = records->items[i].policy;
        const bool is_new = i == 0 || strcmp(text, records->items[i - 1].policy) != 0;
        n_policies += is_new && strncmp(text, policy, strlen(policy)) == 0;
    }
    for (size_t i = 0; i < records->n; i++) {
        kvl_record *r = &records->items[i];
        const bool is_kept =
            r->role != KVL_ROLE_ONE_PASS &&
            (is_whole ? strcmp(r->policy, policy) : strncmp(r->policy, policy, strlen(policy))) == 0;
        if (is_kept) {
            records->items[n++] = *r;
        } else {
            kvl_record_free(r);
        }
    }
    records->n = n;
    return n_policies;
}

/* GROUP/POLICY, POLICY of the group of --group, or GROUP: its full cache. */
static kvl_status pick(kvl_side_of_two *side, const kvl_store_options *o, kvl_store *store,
                       const kvl_store_groups *groups, const char *operand, kvl_err *err) {
    char group[KVL_KEY_TEXT + 1] = "";
    const size_t n_digits = strspn(operand, "0123456789abcdef");
    const bool has_group =
        n_digits >= 4 && n_digits < KVL_KEY_TEXT && (operand[n_digits] == '/' || operand[n_digits] == '\0');
    const char *policy = !has_group ? operand : operand[n_digits] == '/' ? operand + n_digits + 1 : "none";
    size_t index = 0;
    memcpy(group, operand, has_group ? n_digits : 0);
    KVL_TRY(kvl_store_pick_group(&index, groups, has_group ? group : o->group, err));
    side->group = &groups->items[index];
    KVL_TRY(kvl_store_list(store, side->group->group, &side->records, err));
    const size_t n_policies = keep_policy(&side->records, policy);
    if (n_policies != 1) {
        return kvl_fail(
            err, KVL_E_USAGE,
            "'%.80s': expected one policy of group %.12s, or the beginning of one, found %s; kvlab "
            "show %.12s -o csv lists them",
            policy, side->group->group, n_policies == 0 ? "none" : "several", side->group->group);
    }
    return KVL_OK;
}

static kvl_status compare(const kvl_store_options *o, kvl_store *store, kvl_str *out, kvl_err *err) {
    kvl_side_of_two a = {0};
    kvl_side_of_two b = {0};
    kvl_store_groups groups = {0};
    kvl_status status = kvl_store_find_groups(store, &groups, err);
    KVL_GO(status);
    KVL_GO(pick(&a, o, store, &groups, o->operands[0], err));
    KVL_GO(pick(&b, o, store, &groups, o->operands[1], err));
    KVL_GO(kvl_compare_write(out, store, &a, &b, o->margin, err));
done:
    kvl_records_free(&a.records);
    kvl_records_free(&b.records);
    kvl_store_groups_free(&groups);
    return status;
}

kvl_status kvl_cmd_compare(int argc, char **argv, kvl_err *err) {
    static const kvl_store_command command = {
        .usage = "compare A B [OPTIONS]\n\nThe difference of two on identical tokens, paired, with its "
                 "interval. A and B: a policy's "
                 "text or the beginning of one,\nof another group than the newest as GROUP/POLICY; GROUP "
                 "alone is its full cache. "
                 "What was not scored on the same\ntokens is refused, with what differs.",
        .table = table,
        .n_table = sizeof table / sizeof table[0],
        .least = 2,
        .most = 2,
        .operand = "policies",
        .mode = KVL_STORE_READ,
        .run = compare,
    };
    return kvl_store_command_run(&command, argc, argv, err);
}
