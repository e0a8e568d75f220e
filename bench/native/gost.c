/* OpenSSL with gost-engine, measured without Python: `gost`, a command a line on stdin:
 *   make SET       a key of that parameter set
 *   sign SECONDS   EVP_PKEY_sign with it
 *   verify SECONDS EVP_PKEY_verify of a signature of its own
 *   hash SECONDS   Streebog-256 of 64 KiB
 *
 * Declared here, so that OpenSSL's headers need not be installed; all of it is public API of 3.x. */
#define _GNU_SOURCE
#include "peer.h"

#include <string.h>

extern void *ENGINE_by_id(const char *id);
extern int ENGINE_init(void *engine);
extern void *ENGINE_get_digest(void *engine, int nid);
extern int ENGINE_register_pkey_asn1_meths(void *engine);
extern int OBJ_txt2nid(const char *name);
extern void *EVP_PKEY_CTX_new(void *key, void *engine);
extern void *EVP_PKEY_CTX_new_id(int nid, void *engine);
extern int EVP_PKEY_keygen_init(void *context);
extern int EVP_PKEY_CTX_ctrl_str(void *context, const char *name, const char *value);
extern int EVP_PKEY_keygen(void *context, void **key);
extern int EVP_PKEY_sign_init(void *context);
extern int EVP_PKEY_sign(void *context, unsigned char *signature, size_t *size,
                         const unsigned char *data, size_t length);
extern int EVP_PKEY_verify_init(void *context);
extern int EVP_PKEY_verify(void *context, const unsigned char *signature, size_t size,
                           const unsigned char *data, size_t length);
extern int EVP_Digest(const void *data, size_t count, unsigned char *digest, unsigned int *size,
                      const void *type, void *engine);

static const struct {
    const char *name, *algorithm, *set;
    size_t size;
} sets[] = {
    {"CryptoPro-A", "gost2012_256", "A", 32},
    {"tc26-512-A", "gost2012_512", "A", 64},
};

static void *engine, *signing, *verifying;
static unsigned char digest[64] = {1}, signature[128], data[65536];
static size_t length, size;

static void sign(void)
{
    size = sizeof signature;
    if (EVP_PKEY_sign(signing, signature, &size, digest, length) != 1)
        FAIL("no signature");
}

static void verify(void)
{
    if (EVP_PKEY_verify(verifying, signature, size, digest, length) != 1)
        FAIL("a signature that is not right");
}

static void hash(void)
{
    unsigned char result[64];
    const void *type = ENGINE_get_digest(engine, OBJ_txt2nid("md_gost12_256"));

    if (EVP_Digest(data, sizeof data, result, NULL, type, engine) != 1)
        FAIL("no digest");
}

static void make(const char *name)
{
    void *context, *key = NULL;

    for (size_t at = 0; at < sizeof sets / sizeof *sets; at++) {
        if (strcmp(sets[at].name, name) != 0)
            continue;
        length = sets[at].size;
        context = EVP_PKEY_CTX_new_id(OBJ_txt2nid(sets[at].algorithm), engine);
        if (EVP_PKEY_keygen_init(context) != 1 ||
            EVP_PKEY_CTX_ctrl_str(context, "paramset", sets[at].set) != 1 ||
            EVP_PKEY_keygen(context, &key) != 1)
            FAIL("no key");
        signing = EVP_PKEY_CTX_new(key, engine);
        verifying = EVP_PKEY_CTX_new(key, engine);
        if (EVP_PKEY_sign_init(signing) != 1 || EVP_PKEY_verify_init(verifying) != 1)
            FAIL("a key that is of no use");
        sign();
        answer(1, 0);
        return;
    }
    FAIL("no parameter set %s", name);
}

static void (*action(const char *name))(void)
{
    if (strcmp(name, "sign") == 0)
        return sign;
    return strcmp(name, "verify") == 0 ? verify : hash;
}

int main(void)
{
    char line[64], name[32], word[32];

    engine = ENGINE_by_id("gost");
    if (engine == NULL || ENGINE_init(engine) != 1)
        FAIL("no engine gost (Debian: libengine-gost-openssl)");
    ENGINE_register_pkey_asn1_meths(engine);
    measured_clock = CLOCK_PROCESS_CPUTIME_ID;
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%31s %31s", name, word) != 2)
            FAIL("not a command");
        if (strcmp(name, "make") == 0)
            make(word);
        else
            repeat_for(action(name), atof(word));
    }
    return 0;
}
