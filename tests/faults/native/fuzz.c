/* libFuzzer's target: one call with arbitrary arguments, answered by arbitrary bytes.
 *
 * Input: u16 number of the call, u16 length of the answer, the answer as it comes off the socket
 * (its first byte says in how large pieces), and the choices that the arguments are made by. */
#include "fuzz.h"

#include "channel.h"
#include "link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BLOCKS_MAX 512
#define ARRAYS_MAX 8

static const uint8_t *choices, *answer;
static size_t choices_left, answer_left, piece;
static void *blocks[BLOCKS_MAX];
static size_t block_count;

static unsigned choose(unsigned among)
{
    unsigned choice = 0;

    if (choices_left > 0) {
        choices_left--;
        choice = *choices++;
    }
    return choice % among;
}

static void *block(size_t size)
{
    void *data = NULL;

    if (block_count < BLOCKS_MAX)
        data = blocks[block_count++] = malloc(size > 0 ? size : 1);
    if (data != NULL)
        memset(data, 0x5A, size);
    return data;
}

static size_t any_size(void)
{
    static const size_t sizes[] = {32, 0, 1, 7, 8, 12, 13, 16, 24, 64, 255, 4096};

    return sizes[choose(sizeof sizes / sizeof sizes[0])];
}

/* A length that no memory has, so that the library must refuse it unread. */
static CK_ULONG wild_length(void)
{
    static const CK_ULONG lengths[] = {
        FRAME_MAX + 1,
        (CK_ULONG)1 << 63,
        (CK_ULONG)-16,
        (CK_ULONG)-1,
    };

    return lengths[choose(4)];
}

CK_ULONG any_ulong(void)
{
    static const CK_ULONG values[] = {1, 0, 2, 0xFFFFFFFF, (CK_ULONG)1 << 40, (CK_ULONG)-1};
    unsigned choice = choose(8);

    return choice < 6 ? values[choice] : choose(256) << 8 | choose(256);
}

void *any_place(size_t size)
{
    return choose(8) == 7 ? NULL : block(size);
}

void *any_reserved(void)
{
    return choose(8) == 7 ? block(1) : NULL;
}

struct span any_span(void)
{
    struct span span = {NULL, 0};

    switch (choose(8)) {
    case 5:
        span.size = wild_length();
        span.data = block(1);
        break;
    case 6:
        span.size = any_size();
        break;
    case 7:
        break;
    default:
        span.size = any_size();
        span.data = block(span.size);
    }
    return span;
}

CK_BYTE *any_label(void)
{
    return any_place(32);
}

/* A structure with pointers in it, whose lengths are true, nothing, or wild. */
static void fill_structure(unsigned char *base, const struct parameter *structure)
{
    for (size_t i = 0; i < structure->count; i++) {
        const struct field *field = &structure->fields[i];
        CK_ULONG number;
        struct span span;

        switch (field->kind) {
        case FIELD_ULONG:
            /* The number of bits stands beside their place and is also a field of its own. */
            if (i > 0 && field[-1].kind == FIELD_BITS && field[-1].length_offset == field->offset)
                break;
            number = any_ulong();
            memcpy(base + field->offset, &number, sizeof number);
            break;
        case FIELD_BOOL:
            base[field->offset] = (unsigned char)choose(256);
            break;
        case FIELD_ARRAY:
            memset(base + field->offset, (int)choose(256), field->size);
            break;
        case FIELD_BYTES:
        case FIELD_BITS:
            span = any_span();
            number = span.size;
            if (field->kind == FIELD_BITS && number <= FRAME_MAX)
                number = (span.size > field->size ? field->size : span.size) * 8;
            memcpy(base + field->offset, &span.data, sizeof span.data);
            memcpy(base + field->length_offset, &number, sizeof number);
            break;
        }
    }
}

static struct span any_structure(const struct parameter *structure)
{
    /* Structures may lie anywhere. */
    size_t shift = choose(2);
    unsigned char *base = block(structure->size + shift);

    if (base == NULL)
        return (struct span){NULL, 0};
    memset(base, 0, structure->size + shift);
    fill_structure(base + shift, structure);
    return (struct span){base + shift, structure->size};
}

static CK_MECHANISM *mechanism_with(CK_ULONG kind, const struct parameter *structure)
{
    CK_MECHANISM *mechanism = block(sizeof *mechanism);
    struct span parameter = {NULL, 0};
    unsigned choice = choose(8);

    if (mechanism == NULL || choice == 7)
        return NULL;
    if (choice < 6)
        parameter = structure == NULL ? any_span() : any_structure(structure);
    /* A size that is not the structure's must keep its pointers from being followed. */
    if (choice == 5 && parameter.data != NULL)
        parameter = (struct span){block(1), 1};
    *mechanism = (CK_MECHANISM){kind, parameter.data, parameter.size};
    return mechanism;
}

static CK_ULONG any_kind(void)
{
    static const CK_ULONG kinds[] = {
        CKM_RSA_PKCS,
        CKM_RSA_PKCS_PSS,
        CKM_RSA_PKCS_OAEP,
        CKM_ECDH1_DERIVE,
        CKM_EDDSA,
        CKM_AES_GCM,
        CKM_AES_CTR,
        CKM_HKDF_DERIVE,
        CKM_PKCS5_PBKD2,
        CKM_ML_DSA,
        CKM_AES_CBC_ENCRYPT_DATA,
        CKM_XOR_BASE_AND_DATA,
        CKM_DES3_CBC_ENCRYPT_DATA,
        CKM_GOSTR3410_12_DERIVE,
        CKM_KDF_TREE_GOSTR3411_2012_256,
    };

    return kinds[choose(sizeof kinds / sizeof kinds[0])];
}

CK_MECHANISM *any_mechanism(void)
{
    CK_ULONG kind = any_kind();

    return mechanism_with(kind, parameter_of(kind));
}

CK_MECHANISM *any_message_mechanism(void)
{
    CK_ULONG kind = choose(4) == 3 ? any_kind() : MESSAGE.mechanism;

    return mechanism_with(kind, kind == MESSAGE.mechanism ? &MESSAGE : parameter_of(kind));
}

struct span any_message(void)
{
    return choose(4) == 3 ? any_span() : any_structure(&MESSAGE);
}

static CK_ULONG any_type(void)
{
    static const CK_ULONG types[] = {CKA_ID, CKA_LABEL, CKA_WRAP_TEMPLATE, CKA_UNWRAP_TEMPLATE};

    return types[choose(4)];
}

/* Bytes that are really there, as a place for an output has them. */
static struct span true_span(void)
{
    size_t size = any_size();
    struct span span = {any_place(size), size};

    return span;
}

struct span any_items(void)
{
    struct span items = {NULL, any_size() / 4};

    items.data = any_place(items.size * sizeof(CK_ULONG));
    return items;
}

/* An attribute of a graph: its value are bytes, or one of the arrays. */
static CK_ATTRIBUTE any_attribute(const struct attributes *arrays, unsigned count, bool output)
{
    const struct attributes *inner = &arrays[choose(count)];
    struct span span = output ? true_span() : any_span();
    CK_ATTRIBUTE one = {any_type(), span.data, span.size};
    unsigned choice = choose(8);

    if (!is_nested(one.type))
        return one;
    one.pValue = choice == 7 ? NULL : inner->items;
    one.ulValueLen = choice == 6 ? wild_length() : inner->count * sizeof one;
    if (choice == 5 && one.ulValueLen > 0)
        one.ulValueLen--;
    return one;
}

/* A graph of arrays, each of which may be the value of any attribute of any other and of itself. */
static struct attributes any_graph(bool output)
{
    struct attributes arrays[ARRAYS_MAX];
    unsigned count = 1 + choose(ARRAYS_MAX);

    for (unsigned i = 0; i < count; i++) {
        arrays[i].count = (choose(4) + 3) % 4;
        arrays[i].items = block(arrays[i].count * sizeof(CK_ATTRIBUTE));
        if (arrays[i].items == NULL)
            return (struct attributes){NULL, 0};
    }
    for (unsigned i = 0; i < count; i++)
        for (CK_ULONG j = 0; j < arrays[i].count; j++)
            arrays[i].items[j] = any_attribute(arrays, count, output);
    if (choose(16) == 15)
        arrays[0].count = ATTRIBUTES_MAX + 1;
    return arrays[0];
}

struct attributes any_template(void)
{
    return any_graph(false);
}

struct attributes any_request(void)
{
    return any_graph(true);
}

struct room any_buffer(size_t item)
{
    struct room room = {NULL, any_place(sizeof(CK_ULONG))};
    CK_ULONG count = any_size() / (item > 1 ? 4 : 1);

    if (choose(4) < 3)
        room.data = block(count * item);
    if (room.size != NULL)
        memcpy(room.size, &count, sizeof count);
    return room;
}

/* The rest of the library, as far as a call needs it. */

static ssize_t fed(void *data, size_t size)
{
    if (size > piece)
        size = piece;
    if (size > answer_left)
        size = answer_left;
    memcpy(data, answer, size);
    answer += size;
    answer_left -= size;
    return (ssize_t)size;
}

ssize_t fuzz_recv(int fd, void *data, size_t size, int flags)
{
    (void)fd;
    (void)flags;
    return fed(data, size);
}

bool link_is_up(void)
{
    return true;
}

CK_RV link_up(void)
{
    return CKR_OK;
}

CK_RV link_down(void)
{
    return CKR_OK;
}

bool link_session(CK_SESSION_HANDLE session, uint64_t *handle, uint64_t *generation)
{
    *handle = session;
    *generation = 1;
    return session >> 40 == 0;
}

bool link_tag(uint64_t handle, uint64_t generation, CK_SESSION_HANDLE *session)
{
    *session = handle + generation;
    return handle >> 40 == 0;
}

/* What is sent must be one frame that says its own length. */
CK_RV link_exchange(struct call *call)
{
    unsigned char *exact;

    if (load_u32(call->data) != call->size - FRAME_HEAD || call->size > FRAME_HEAD + FRAME_MAX)
        abort();
    /* As if a promised call had been sent in front. */
    if (choose(4) == 3)
        call->lead = FRAME_HEAD + 8;
    if (!channel_receive(0, call))
        return CKR_DEVICE_REMOVED;
    /* In memory of its own the end of the answer is an end that the sanitizers see. */
    exact = malloc(call->size);
    if (exact == NULL)
        return CKR_HOST_MEMORY;
    memcpy(exact, call->data, call->size);
    if (call->data != call->room)
        free(call->data);
    call->data = exact;
    call->capacity = call->size;
    return CKR_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t number, length;

    if (size < 5)
        return 0;
    number = (size_t)(data[0] | data[1] << 8) % CALL_COUNT;
    length = (size_t)(data[2] | data[3] << 8);
    piece = data[4] == 0 ? SIZE_MAX : data[4];
    answer = data + 5;
    answer_left = length < size - 5 ? length : size - 5;
    choices = answer + answer_left;
    choices_left = size - 5 - answer_left;
    CALLS[number]();
    while (block_count > 0)
        free(blocks[--block_count]);
    return 0;
}
