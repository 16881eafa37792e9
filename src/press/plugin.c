/* Loading presses: the file, its descriptor, then everything that a press of the program has by its tests. */
#include "press/plugin.h"

#include "kvlab_press.h"

#include "base/alloc.h"
#include "base/os.h"
#include "base/sha256.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <string.h>

enum { MAX_NAME = 40, MAX_FILE_BYTES = 1 << 28 };

typedef struct plugin {
    const kvl_press *press;
    kvl_str file;
    char hash[9];
} plugin;

static plugin plugins[KVL_MAX_PLUGINS];
static size_t n_plugins;

static const plugin *plugin_of(const kvl_press *press) {
    for (size_t i = 0; i < n_plugins; i++) {
        if (plugins[i].press == press) {
            return &plugins[i];
        }
    }
    return NULL;
}

const char *kvl_press_file(const kvl_press *press) {
    const plugin *p = plugin_of(press);
    return p != NULL ? kvl_str_text(&p->file) : "";
}

const char *kvl_press_hash(const kvl_press *press) {
    const plugin *p = plugin_of(press);
    return p != NULL ? p->hash : "";
}

/* ---- checks ---- */

static kvl_status check_descriptor(const kvl_press_plugin *found, const char *path, kvl_err *err) {
#define X(type) #type,
    static const char *const names[] = {KVL_PRESS_ABI_TYPES(X)};
#undef X
    static const uint32_t sizes[] = {KVL_PRESS_ABI_TYPES(KVL_PRESS_ABI_SIZE)};
    if (found->abi != KVL_PRESS_ABI) {
        return kvl_fail(err, KVL_E_VERSION,
                        "%s: plug-in interface: expected version %u, found %u; compile it with this kvlab's "
                        "headers",
                        path, KVL_PRESS_ABI, found->abi);
    }
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        if (found->sizes[i] != sizes[i]) {
            return kvl_fail(err, KVL_E_VERSION,
                            "%s: plug-in interface: %s: expected %u bytes, found %u; compile it with this "
                            "kvlab's headers",
                            path, names[i], sizes[i], found->sizes[i]);
        }
    }
    return found->press != NULL ? KVL_OK
                                : kvl_fail(err, KVL_E_MISSING, "%s: expected a press, found none", path);
}

static kvl_status check_name(const char *name, const char *path, kvl_err *err) {
    size_t n_good = name != NULL ? strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") : 0;
    if (n_good == 0 || n_good > MAX_NAME || name[n_good] != '\0') {
        return kvl_fail(err, KVL_E_MISSING,
                        "%s: name of the press: expected 1 to %d of a-z, 0-9, - and _, found '%.80s'", path,
                        MAX_NAME, name != NULL ? name : "");
    }
    size_t n = 0;
    const kvl_press *const *all = kvl_presses(&n);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(all[i]->name, name) == 0) {
            const char *file = kvl_press_file(all[i]);
            return kvl_fail(err, KVL_E_DUP, "%s: press %s: expected a new name, found that of %s", path, name,
                            file[0] != '\0' ? file : "a press of kvlab");
        }
    }
    return KVL_OK;
}

static kvl_status check_option(const kvl_press *press, const kvl_option *o, const char *path, kvl_err *err) {
    const size_t n_bytes = o->kind == KVL_OPTION_LIST ? sizeof(kvl_numbers) : sizeof(uint64_t);
    unsigned char conf[KVL_PRESS_CONF_BYTES];
    if (o->name == NULL || o->initial == NULL || o->help == NULL || o->kind > KVL_OPTION_LIST ||
        (o->kind == KVL_OPTION_CHOICE && o->choices == NULL)) {
        return kvl_fail(err, KVL_E_TYPE,
                        "%s: press %s: option %s: expected name, kind, initial, help, and choices where it "
                        "is one",
                        path, press->name, o->name != NULL ? o->name : "(unnamed)");
    }
    if (o->offset > press->conf_bytes || n_bytes > press->conf_bytes - o->offset) {
        return kvl_fail(err, KVL_E_NUM,
                        "%s: press %s: option %s: expected it to end within conf_bytes = %zu, found offset "
                        "%zu and %zu bytes",
                        path, press->name, o->name, press->conf_bytes, o->offset, n_bytes);
    }
    kvl_str text = {0};
    kvl_str_printf(&text, "%s=%s", o->name, o->initial);
    kvl_err found = {0};
    kvl_status status = kvl_options_parse(o, 1, conf, press->name, kvl_str_text(&text), text.len, &found);
    kvl_str_free(&text);
    return status == KVL_OK ? KVL_OK : kvl_fail(err, KVL_E_NUM, "%s: default: %s", path, found.msg);
}

static kvl_status check_press(const kvl_press *press, const char *path, kvl_err *err) {
    KVL_TRY(check_name(press->name, path, err));
    const int n_scores = (press->score != NULL) + (press->score_layer != NULL);
    const char *missing = press->summary == NULL                 ? "a summary"
                          : press->source == NULL                ? "a source"
                          : press->n_inner == 0 && n_scores != 1 ? "either score or score_layer"
                          : n_scores > 1                         ? "at most one of score and score_layer"
                          : press->n_options != 0 && press->options == NULL   ? "its options"
                          : (press->replay != NULL) != (press->learn != NULL) ? "replay and learn together"
                                                                              : NULL;
    if (missing != NULL) {
        return kvl_fail(err, KVL_E_MISSING, "%s: press %s: expected %s, found %s", path, press->name, missing,
                        n_scores > 1 ? "both" : "none");
    }
    if (press->conf_bytes > KVL_PRESS_CONF_BYTES) {
        return kvl_fail(err, KVL_E_LIMIT, "%s: press %s: conf_bytes: expected at most %d, found %zu", path,
                        press->name, KVL_PRESS_CONF_BYTES, press->conf_bytes);
    }
    for (size_t i = 0; i < press->n_options; i++) {
        KVL_TRY(check_option(press, &press->options[i], path, err));
    }
    return KVL_OK;
}

/* ---- loading ---- */

static kvl_status hash_of(char hash[9], const char *path, kvl_err *err) {
    char digits[KVL_SHA256_TEXT];
    size_t n = 0;
    char *bytes = NULL;
    KVL_TRY(kvl_file_load(&bytes, &n, path, MAX_FILE_BYTES, err));
    const kvl_status status = kvl_sha256(digits, bytes, n, err);
    kvl_free(bytes);
    KVL_TRY(status);
    memcpy(hash, digits, 8);
    hash[8] = '\0';
    return KVL_OK;
}

/* What the loader says, without the file's name that it begins with. */
static const char *loader_text(const char *path) {
    const char *text = dlerror();
    text = text != NULL ? text : "unknown reason";
    const size_t n = strlen(path);
    return strncmp(text, path, n) == 0 && strncmp(text + n, ": ", 2) == 0 ? text + n + 2 : text;
}

static kvl_status open_press(const kvl_press **out, const char *path, kvl_err *err) {
    kvl_str with_folder = {0}; /* a bare name would be looked for in the system's folders */
    kvl_str_printf(&with_folder, "%s%s", strchr(path, '/') == NULL ? "./" : "", path);
    void *object = dlopen(kvl_str_text(&with_folder), RTLD_NOW | RTLD_LOCAL);
    if (object == NULL) {
        kvl_status status = kvl_fail(err, KVL_E_MAGIC, "%s: expected a shared object that can be loaded: %s",
                                     path, loader_text(kvl_str_text(&with_folder)));
        kvl_str_free(&with_folder);
        return status;
    }
    kvl_str_free(&with_folder);
    const kvl_press_plugin *found = dlsym(object, "kvl_press_plugin_v1");
    if (found == NULL) {
        return kvl_fail(err, KVL_E_MISSING,
                        "%s: expected the symbol kvl_press_plugin_v1 (KVL_PRESS_PLUGIN), found none", path);
    }
    KVL_TRY(check_descriptor(found, path, err));
    *out = found->press;
    return KVL_OK;
}

kvl_status kvl_press_load(const char *path, kvl_err *err) {
    plugin fresh = {0};
    KVL_TRY(hash_of(fresh.hash, path, err));
    KVL_TRY(open_press(&fresh.press, path, err));
    if (plugin_of(fresh.press) != NULL) {
        return KVL_OK;
    }
    KVL_TRY(check_press(fresh.press, path, err));
    if (n_plugins == KVL_MAX_PLUGINS) {
        return kvl_fail(err, KVL_E_LIMIT, "%s: expected at most %d plug-ins, found more", path,
                        KVL_MAX_PLUGINS);
    }
    kvl_str_puts(&fresh.file, path);
    KVL_TRY(kvl_str_check(&fresh.file, path, err));
    plugins[n_plugins++] = fresh;
    kvli_press_add(fresh.press);
    return KVL_OK;
}

/* The first name of a folder behind `after` that ends in .so. */
static kvl_status next_object(kvl_str *out, const char *path, const char *after, kvl_err *err) {
    DIR *folder = opendir(path);
    if (folder == NULL) {
        return kvl_fail(err, KVL_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
    }
    for (const struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        const size_t n = strlen(entry->d_name);
        const bool is_object = n > 3 && strcmp(entry->d_name + n - 3, ".so") == 0;
        if (is_object && strcmp(entry->d_name, after) > 0 &&
            (out->len == 0 || strcmp(entry->d_name, kvl_str_text(out)) < 0)) {
            kvl_str_clear(out);
            kvl_str_puts(out, entry->d_name);
        }
    }
    closedir(folder);
    return kvl_str_check(out, path, err);
}

kvl_status kvl_press_load_folder(const char *path, kvl_err *err) {
    kvl_str last = {0}, next = {0}, file = {0};
    kvl_status status = next_object(&next, path, "", err);
    while (status == KVL_OK && next.len != 0) {
        kvl_str_clear(&file);
        kvl_str_printf(&file, "%s/%s", path, kvl_str_text(&next));
        KVL_GO(kvl_press_load(kvl_str_text(&file), err));
        kvl_str_clear(&last);
        kvl_str_puts(&last, kvl_str_text(&next));
        kvl_str_clear(&next);
        status = next_object(&next, path, kvl_str_text(&last), err);
    }
done:
    kvl_str_free(&last);
    kvl_str_free(&next);
    kvl_str_free(&file);
    return status;
}
