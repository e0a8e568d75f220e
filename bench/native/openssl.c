/* OpenSSL itself, measured in the same way as a token: `openssl`, commands as in client.c.
 *
 * Declared here, so that OpenSSL's headers need not be installed; all of it is public API of 3.x. */
#define _GNU_SOURCE
#include "peer.h"

#include <string.h>

extern void *EVP_PKEY_Q_keygen(void *library, const char *properties, const char *type, ...);
extern void *EVP_PKEY_CTX_new(void *key, void *engine);
extern int EVP_PKEY_sign_init(void *context);
extern int EVP_PKEY_CTX_set_rsa_padding(void *context, int padding);
extern int EVP_PKEY_sign(void *context, unsigned char *signature, size_t *size,
                         const unsigned char *data, size_t length);
extern int RAND_bytes(unsigned char *bytes, int size);

#define PKCS1_PADDING 1

static void *context;

static void make_key(const char *kind)
{
    int rsa = strcmp(kind, "rsa") == 0;
    void *key = rsa ? EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048)
                    : EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-256");

    context = EVP_PKEY_CTX_new(key, NULL);
    if (context == NULL || EVP_PKEY_sign_init(context) != 1 ||
        (rsa && EVP_PKEY_CTX_set_rsa_padding(context, PKCS1_PADDING) != 1))
        FAIL("no key of kind %s", kind);
}

static void sign(void)
{
    static const unsigned char digest[32];
    unsigned char signature[512];
    size_t size = sizeof signature;

    if (EVP_PKEY_sign(context, signature, &size, digest, sizeof digest) != 1)
        FAIL("no signature");
}

static void random_bytes(void)
{
    unsigned char bytes[32];

    if (RAND_bytes(bytes, sizeof bytes) != 1)
        FAIL("no random bytes");
}

int main(void)
{
    char line[64], name[32], word[32];

    while (fgets(line, sizeof line, stdin) != NULL) {
        if (sscanf(line, "%31s %31s", name, word) != 2)
            FAIL("not a command");
        if (strcmp(name, "sign") == 0) {
            repeat_for(sign, atof(word));
        } else if (strcmp(name, "random") == 0) {
            repeat_for(random_bytes, atof(word));
        } else {
            make_key(word);
            answer(1, 0);
        }
    }
    return 0;
}
