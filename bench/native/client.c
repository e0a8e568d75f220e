/* A PKCS#11 client that measures: `client LIBRARY LABEL PIN [first]`.
 *
 * A command a line on stdin, answered by `done COUNT NANOSECONDS` or `failed REASON`:
 *
 *     initialize | close              C_Initialize | C_Finalize
 *     open                            C_Initialize, then a session with the user logged in
 *     certificate VALUE SUBJECT       DER in hexadecimal, for the objects that follow
 *     fill token|session FIRST COUNT  make certificates; their CKA_IDs are numbers from FIRST on
 *     drop                            close the session, and with it its objects; open another
 *     make rsa|ec                     make a key pair on the token, to sign with from here on
 *     key rsa|ec                      sign with the key pair that is on the token
 *     sign|random|attributes|create|start SECONDS       repeat for so long
 *     find token|session COUNT SECONDS                  by CKA_ID, each of that many in turn
 *     visit list|use                  C_GetTokenInfo of every token; with `use` also log in once
 *
 * With `first` it only loads the library and reaches its tokens, for the time of a whole process. */
#define _GNU_SOURCE
#include "cryptoki.h"
#include "peer.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#define ID_SIZE 20
#define MAX_VALUE 2048
#define MAX_SLOTS 4096
#define X_509 0 /* CKC_X_509 */

#define CHECK(call)                                                                                \
    do {                                                                                           \
        CK_RV rv_ = (call);                                                                        \
        if (rv_ != CKR_OK)                                                                         \
            FAIL("%s: 0x%lx", #call, rv_);                                                         \
    } while (0)
#define ATTRIBUTE(type, value) {(type), &(value), sizeof(value)}

static CK_FUNCTION_LIST *f;
static const char *library, *label, *pin;
static CK_ULONG slot;
static CK_SESSION_HANDLE session;
static CK_ULONG key;
static bool key_is_rsa;
static CK_BYTE certificate[MAX_VALUE], subject[MAX_VALUE];
static size_t certificate_size, subject_size;
static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
static CK_ULONG certificate_class = CKO_CERTIFICATE;
static uint64_t turns;

static void load(void)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    CK_RV (*list)(CK_FUNCTION_LIST **);

    if (handle == NULL)
        FAIL("%s", dlerror());
    *(void **)&list = dlsym(handle, "C_GetFunctionList");
    if (list == NULL)
        FAIL("%s", dlerror());
    CHECK(list(&f));
}

/* The slots with a token; gives their number. */
static CK_ULONG tokens(CK_ULONG slots[MAX_SLOTS])
{
    CK_ULONG count = MAX_SLOTS;

    CHECK(f->C_GetSlotList(CK_TRUE, slots, &count));
    return count;
}

static void find_slot(void)
{
    static CK_ULONG slots[MAX_SLOTS];
    CK_ULONG count = tokens(slots);
    CK_TOKEN_INFO info;

    for (CK_ULONG i = 0; i < count; i++) {
        CHECK(f->C_GetTokenInfo(slots[i], &info));
        if (strncmp((const char *)info.label, label, strlen(label)) == 0) {
            slot = slots[i];
            return;
        }
    }
    FAIL("no token is called %s", label);
}

static void start(void)
{
    CHECK(f->C_Initialize(NULL));
}

static void log_in(void)
{
    CHECK(f->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &session));
    CHECK(f->C_Login(session, CKU_USER, (CK_BYTE *)pin, strlen(pin)));
}

static void set_id(CK_BYTE id[ID_SIZE], uint64_t number, bool token)
{
    memset(id, token ? 't' : 's', ID_SIZE);
    for (int i = 0; i < 8; i++)
        id[i] = (CK_BYTE)(number >> 8 * i);
}

static CK_ULONG make(uint64_t number, bool token)
{
    CK_ULONG type = X_509, object;
    CK_BYTE id[ID_SIZE];
    CK_ATTRIBUTE template[] = {
        ATTRIBUTE(CKA_CLASS, certificate_class),
        ATTRIBUTE(CKA_CERTIFICATE_TYPE, type),
        {CKA_TOKEN, token ? &yes : &no, 1},
        ATTRIBUTE(CKA_PRIVATE, no),
        ATTRIBUTE(CKA_ID, id),
        {CKA_LABEL, "measured", 8},
        {CKA_SUBJECT, subject, subject_size},
        {CKA_VALUE, certificate, certificate_size},
    };

    set_id(id, number, token);
    CHECK(f->C_CreateObject(session, template, sizeof template / sizeof *template, &object));
    return object;
}

static CK_ULONG find(CK_ULONG class, const CK_BYTE *id, size_t size)
{
    CK_ATTRIBUTE template[] = {{CKA_CLASS, &class, sizeof class}, {CKA_ID, (void *)id, size}};
    CK_ULONG found[2], count;

    CHECK(f->C_FindObjectsInit(session, template, 2));
    CHECK(f->C_FindObjects(session, found, 2, &count));
    CHECK(f->C_FindObjectsFinal(session));
    if (count != 1)
        FAIL("%lu objects with an identifier that one has", count);
    return found[0];
}

static void make_key(const char *kind)
{
    static const CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
    CK_ULONG bits = 2048, public;
    CK_BYTE exponent[] = {1, 0, 1};
    bool rsa = strcmp(kind, "rsa") == 0;
    CK_MECHANISM mechanism = {rsa ? CKM_RSA_PKCS_KEY_PAIR_GEN : CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE of_public[] = {
        ATTRIBUTE(CKA_TOKEN, yes),
        ATTRIBUTE(CKA_VERIFY, yes),
        {CKA_EC_PARAMS, (void *)p256, sizeof p256},
        ATTRIBUTE(CKA_PUBLIC_EXPONENT, exponent),
    };
    CK_ATTRIBUTE of_private[] = {
        ATTRIBUTE(CKA_TOKEN, yes), ATTRIBUTE(CKA_PRIVATE, yes), ATTRIBUTE(CKA_SIGN, yes),
        {CKA_ID, (void *)kind, strlen(kind)},
    };

    if (rsa)
        of_public[2] = (CK_ATTRIBUTE)ATTRIBUTE(CKA_MODULUS_BITS, bits);
    CHECK(f->C_GenerateKeyPair(session, &mechanism, of_public, rsa ? 4 : 3, of_private, 4, &public,
                               &key));
    key_is_rsa = rsa;
}

static void use_key(const char *kind)
{
    key = find(CKO_PRIVATE_KEY, (const CK_BYTE *)kind, strlen(kind));
    key_is_rsa = strcmp(kind, "rsa") == 0;
}

/* What is repeated; each gives the nanoseconds that count. */

static uint64_t sign(void)
{
    /* RFC 8017 9.2 note 1, and a digest for ECDSA: the last 32 bytes. */
    static CK_BYTE info[51] = {0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01,
                               0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0x04, 0x20};
    CK_MECHANISM mechanism = {key_is_rsa ? CKM_RSA_PKCS : CKM_ECDSA, NULL, 0};
    CK_BYTE signature[512];
    CK_ULONG size = sizeof signature;
    uint64_t begun = now_ns();

    CHECK(f->C_SignInit(session, &mechanism, key));
    if (key_is_rsa)
        CHECK(f->C_Sign(session, info, sizeof info, signature, &size));
    else
        CHECK(f->C_Sign(session, info + 19, 32, signature, &size));
    return now_ns() - begun;
}

static uint64_t random_bytes(void)
{
    CK_BYTE bytes[32];
    uint64_t begun = now_ns();

    CHECK(f->C_GenerateRandom(session, bytes, sizeof bytes));
    return now_ns() - begun;
}

static uint64_t attributes(void)
{
    CK_BYTE id[ID_SIZE], name[64], value[MAX_VALUE];
    CK_ULONG class;
    CK_ATTRIBUTE wanted[] = {
        ATTRIBUTE(CKA_CLASS, class),
        ATTRIBUTE(CKA_ID, id),
        ATTRIBUTE(CKA_LABEL, name),
        ATTRIBUTE(CKA_VALUE, value),
    };
    static CK_ULONG object;
    uint64_t begun;

    if (object == 0) {
        set_id(id, 0, true);
        object = find(CKO_CERTIFICATE, id, sizeof id);
    }
    begun = now_ns();
    CHECK(f->C_GetAttributeValue(session, object, wanted, 4));
    return now_ns() - begun;
}

static uint64_t create(void)
{
    uint64_t begun = now_ns(), spent;
    CK_ULONG object = make((uint64_t)1 << 40, true);

    spent = now_ns() - begun;
    CHECK(f->C_DestroyObject(session, object));
    return spent;
}

static uint64_t restart(void)
{
    uint64_t begun;

    CHECK(f->C_Finalize(NULL));
    begun = now_ns();
    start();
    log_in();
    return now_ns() - begun;
}

static uint64_t population;
static bool on_token;

static uint64_t search(void)
{
    CK_BYTE id[ID_SIZE];
    uint64_t begun;

    set_id(id, turns++ % population, on_token);
    begun = now_ns();
    find(CKO_CERTIFICATE, id, sizeof id);
    return now_ns() - begun;
}

static void repeat(uint64_t (*action)(void), double seconds)
{
    uint64_t limit = now_ns() + (uint64_t)(seconds * 1e9), spent = 0, count = 0;

    do {
        spent += action();
        count++;
    } while (now_ns() < limit);
    answer(count, spent);
}

static size_t unhex(const char *text, CK_BYTE bytes[MAX_VALUE])
{
    size_t size = strlen(text) / 2;

    if (size > MAX_VALUE)
        FAIL("the value is too long");
    for (size_t i = 0; i < size; i++)
        if (sscanf(text + 2 * i, "%2hhx", &bytes[i]) != 1)
            FAIL("not hexadecimal");
    return size;
}

static void fill(bool token, uint64_t first, uint64_t count)
{
    uint64_t begun = now_ns();

    for (uint64_t i = 0; i < count; i++)
        make(first + i, token);
    answer(count, now_ns() - begun);
}

/* What an application does to a token that it lists, or uses once. */
static void visit(bool use)
{
    static CK_ULONG slots[MAX_SLOTS];
    uint64_t begun = now_ns();
    CK_ULONG count = tokens(slots);
    CK_TOKEN_INFO info;

    for (CK_ULONG i = 0; i < count; i++) {
        CHECK(f->C_GetTokenInfo(slots[i], &info));
        if (use) {
            slot = slots[i];
            log_in();
            CHECK(f->C_CloseSession(session));
        }
    }
    answer(count, now_ns() - begun);
}

static const struct {
    const char *name;
    uint64_t (*action)(void);
} repeated[] = {
    {"sign", sign},     {"random", random_bytes}, {"attributes", attributes},
    {"create", create}, {"start", restart},
};

static void run(char *words[], int count)
{
    const char *name = words[0];

    if (strcmp(name, "initialize") == 0) {
        start();
    } else if (strcmp(name, "open") == 0) {
        start();
        find_slot();
        log_in();
    } else if (strcmp(name, "close") == 0) {
        CHECK(f->C_Finalize(NULL));
    } else if (strcmp(name, "drop") == 0) {
        CHECK(f->C_CloseSession(session));
        log_in();
    } else if (strcmp(name, "make") == 0 && count == 2) {
        make_key(words[1]);
    } else if (strcmp(name, "key") == 0 && count == 2) {
        use_key(words[1]);
    } else if (strcmp(name, "certificate") == 0 && count == 3) {
        certificate_size = unhex(words[1], certificate);
        subject_size = unhex(words[2], subject);
    } else if (strcmp(name, "fill") == 0 && count == 4) {
        fill(strcmp(words[1], "token") == 0, strtoull(words[2], NULL, 10),
             strtoull(words[3], NULL, 10));
        return;
    } else if (strcmp(name, "find") == 0 && count == 4) {
        on_token = strcmp(words[1], "token") == 0;
        population = strtoull(words[2], NULL, 10);
        repeat(search, atof(words[3]));
        return;
    } else if (strcmp(name, "visit") == 0 && count == 2) {
        visit(strcmp(words[1], "use") == 0);
        return;
    } else {
        for (size_t i = 0; i < sizeof repeated / sizeof *repeated; i++) {
            if (strcmp(name, repeated[i].name) == 0 && count == 2) {
                repeat(repeated[i].action, atof(words[1]));
                return;
            }
        }
        FAIL("no command %s with %d words", name, count);
    }
    answer(1, 0);
}

int main(int count, char *arguments[])
{
    static char line[4 * MAX_VALUE + 64];

    if (count < 4)
        FAIL("usage: client LIBRARY LABEL PIN [first]");
    library = arguments[1];
    label = arguments[2];
    pin = arguments[3];
    load();
    if (count > 4) {
        start();
        find_slot();
        return 0;
    }
    while (fgets(line, sizeof line, stdin) != NULL) {
        char *words[5], *rest = NULL;
        int found = 0;

        for (char *word = strtok_r(line, " \n", &rest); word != NULL && found < 5;
             word = strtok_r(NULL, " \n", &rest))
            words[found++] = word;
        if (found > 0)
            run(words, found);
    }
    return 0;
}
