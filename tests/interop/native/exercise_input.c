/* Input that no honest host gives, one function a scenario. */
#include "exercise.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Pointers that are NULL, lengths that are zero or absurd, handles nobody gave. */
/* More than a frame that needs no memory of its own. */
#define LARGE 100000

void bad_input(void)
{
    CK_BYTE *tiny = malloc(1), *large = calloc(1, LARGE);
    CK_ATTRIBUTE attribute = {CKA_LABEL, NULL, 5}, wild = {CKA_LABEL, tiny, (CK_ULONG)-1};
    CK_MECHANISM mechanism = {CKM_RSA_PKCS_PSS, tiny, 1}, hollow = {CKM_RSA_PKCS, NULL, 9};
    CK_ULONG size, one;
    CK_SESSION_HANDLE session;

    load();
    RV(f->C_GetInfo(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    RV(f->C_GetInfo(NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_GetSlotList(1, NULL, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_Login(session, CKU_USER, NULL, 4), CKR_ARGUMENTS_BAD);
    RV(f->C_Login(session, CKU_USER, tiny, (CK_ULONG)-1), CKR_HOST_MEMORY);
    RV(f->C_InitToken(SLOT, tiny, 1, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_DeriveKey(session, NULL, 1, NULL, 0, &one), CKR_ARGUMENTS_BAD);
    RV(f->C_SignInit(session, &mechanism, 1), CKR_MECHANISM_PARAM_INVALID);
    RV(f->C_SignInit(session, &hollow, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, &attribute, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_FindObjectsInit(session, &wild, 1), CKR_HOST_MEMORY);
    RV(f->C_FindObjectsInit(session, &wild, (CK_ULONG)-1), CKR_ARGUMENTS_BAD);
    RV(f->C_GetAttributeValue(session, 1, NULL, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_GenerateRandom(session, tiny, (CK_ULONG)-1), CKR_HOST_MEMORY);
    RV(f->C_GenerateRandom(session, NULL, 0), CKR_OK);
    RV(f->C_GenerateRandom(session, tiny, 1), CKR_OK);
    size = 1;
    RV(f->C_GetSlotList(1, &one, &size), CKR_OK);
    size = 0;
    RV(f->C_GetSlotList(1, &one, &size), CKR_BUFFER_TOO_SMALL);
    EXPECT(size == 1);
    size = 1;
    RV(f->C_Sign(session, tiny, 1, tiny, &size), CKR_BUFFER_TOO_SMALL);
    EXPECT(size == SIGNATURE);
    RV(f->C_Sign(session, NULL, 0, NULL, &size), CKR_OK);
    RV(f->C_Sign(session, NULL, 1, tiny, &size), CKR_ARGUMENTS_BAD);
    RV(f->C_Sign(session, tiny, (CK_ULONG)-1, tiny, &size), CKR_HOST_MEMORY);
    RV(f->C_Sign(session, large, LARGE, tiny, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_Sign(0, tiny, 1, tiny, NULL), CKR_ARGUMENTS_BAD);
    RV(f->C_Sign((CK_ULONG)-1, tiny, 1, tiny, NULL), CKR_SESSION_HANDLE_INVALID);
    RV(sign(0), CKR_SESSION_HANDLE_INVALID);
    RV(sign((CK_ULONG)-1), CKR_SESSION_HANDLE_INVALID);
    RV(sign(session), CKR_OK);
    RV(f->C_Finalize(tiny), CKR_ARGUMENTS_BAD);
    RV(f->C_Finalize(NULL), CKR_OK);
    RV(f->C_Finalize(NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    free(tiny);
    free(large);
}

/* Templates in templates: hollow, cut, endless, in circles, too deep. */
void bad_templates(void)
{
    CK_BYTE *tiny = malloc(1);
    CK_ATTRIBUTE *inner = malloc(sizeof *inner), deep[6], outer = {CKA_WRAP_TEMPLATE, inner, 0};
    CK_SESSION_HANDLE session;

    load();
    RV(f->C_Initialize(NULL), CKR_OK);
    session = open_session();
    *inner = (CK_ATTRIBUTE){CKA_LABEL, tiny, 1};
    for (int i = 0; i < 6; i++)
        deep[i] = (CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, i == 0 ? inner : &deep[i - 1], sizeof *inner};
    for (int i = 0; i < 3; i++) {
        CK_RV (*find)(CK_SESSION_HANDLE, CK_ATTRIBUTE *, CK_ULONG) = f->C_FindObjectsInit;
        static const CK_ULONG lengths[] = {1, sizeof(CK_ATTRIBUTE) * 65537, (CK_ULONG)-1};

        outer.ulValueLen = lengths[i];
        RV(find(session, &outer, 1), CKR_ARGUMENTS_BAD);
        outer.ulValueLen = sizeof *inner;
        RV(find(session, &outer, 1), CKR_FUNCTION_NOT_SUPPORTED);
        RV(find(session, &deep[3], 1), CKR_FUNCTION_NOT_SUPPORTED);
        RV(find(session, &deep[4], 1), CKR_ARGUMENTS_BAD);
    }
    *inner = (CK_ATTRIBUTE){CKA_LABEL, NULL, 1};
    RV(f->C_FindObjectsInit(session, &outer, 1), CKR_ARGUMENTS_BAD);
    *inner = (CK_ATTRIBUTE){CKA_LABEL, tiny, (CK_ULONG)-1};
    RV(f->C_FindObjectsInit(session, &outer, 1), CKR_HOST_MEMORY);
    *inner = outer;
    RV(f->C_FindObjectsInit(session, &outer, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_GetAttributeValue(session, 1, &outer, 1), CKR_ARGUMENTS_BAD);
    outer.ulValueLen = (CK_ULONG)-24;
    RV(f->C_GetAttributeValue(session, 1, &outer, 1), CKR_ARGUMENTS_BAD);
    outer = (CK_ATTRIBUTE){CKA_WRAP_TEMPLATE, NULL, (CK_ULONG)-1};
    RV(f->C_GetAttributeValue(session, 1, &outer, 1), CKR_FUNCTION_NOT_SUPPORTED);
    RV(f->C_FindObjectsInit(session, &outer, 1), CKR_ARGUMENTS_BAD);
    RV(f->C_Finalize(NULL), CKR_OK);
    free(inner);
    free(tiny);
}

/* Parameters of messages: places that are missing, too small or of absurd lengths. */
void bad_messages(void)
{
    CK_BYTE *iv = malloc(12), *tag = malloc(16), *out = malloc(4);
    CK_GCM_MESSAGE_PARAMS *message = malloc(sizeof *message);
    CK_MECHANISM mechanism = {CKM_AES_GCM, message, sizeof *message};
    CK_ULONG size = 4, key;
    CK_SESSION_HANDLE session;

    load();
    RV(f3->C_EncryptMessage(1, NULL, 0, NULL, 0, NULL, 0, NULL, NULL),
       CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(f3->C_Initialize(NULL), CKR_OK);
    session = open_session();
    *message = (CK_GCM_MESSAGE_PARAMS){iv, 12, 0, 0, tag, 128};
    RV(f3->C_EncryptMessage(session, message, sizeof *message, NULL, 0, out, 4, out, &size),
       CKR_OK);
    EXPECT(size == 4 && memcmp(tag, "sixteen bytes ..", 16) == 0);
    RV(f3->C_EncryptMessage(session, message, sizeof *message, NULL, 1, out, 4, out, &size),
       CKR_ARGUMENTS_BAD);
    RV(f3->C_EncryptMessage(session, message, sizeof *message, NULL, 0, out, 4, out, NULL),
       CKR_ARGUMENTS_BAD);
    RV(f3->C_EncryptMessage(session, NULL, sizeof *message, NULL, 0, out, 4, out, &size),
       CKR_ARGUMENTS_BAD);
    message->ulTagBits = (CK_ULONG)-1;
    RV(f3->C_DecryptMessage(session, message, sizeof *message, NULL, 0, out, 4, out, &size),
       CKR_FUNCTION_NOT_SUPPORTED);
    message->pTag = NULL;
    message->ulTagBits = 128;
    /* There is a tag to write back and no place for it. */
    RV(f3->C_EncryptMessage(session, message, sizeof *message, NULL, 0, out, 4, out, &size),
       CKR_GENERAL_ERROR);
    message->ulIvLen = (CK_ULONG)-1;
    RV(f3->C_EncryptMessage(session, message, sizeof *message, NULL, 0, out, 4, out, &size),
       CKR_HOST_MEMORY);
    RV(f3->C_WrapKeyAuthenticated(session, &mechanism, 1, 1, NULL, 0, out, &size), CKR_HOST_MEMORY);
    RV(f3->C_WrapKeyAuthenticated(session, NULL, 1, 1, NULL, 0, out, &size), CKR_ARGUMENTS_BAD);
    mechanism.ulParameterLen = 1;
    RV(f3->C_MessageEncryptInit(session, &mechanism, 1), CKR_MECHANISM_PARAM_INVALID);
    RV(f3->C_MessageEncryptInit(session, NULL, 1), CKR_FUNCTION_NOT_SUPPORTED);
    mechanism = (CK_MECHANISM){CKM_ML_KEM, NULL, 0};
    RV(f3->C_EncapsulateKey(session, &mechanism, 1, NULL, 1, out, &size, &key), CKR_ARGUMENTS_BAD);
    RV(f3->C_EncapsulateKey(session, &mechanism, 1, NULL, 0, out, &size, NULL), CKR_ARGUMENTS_BAD);
    RV(f3->C_SignMessageNext(session, NULL, 0, out, 4, NULL, NULL), CKR_FUNCTION_NOT_SUPPORTED);
    RV(f3->C_Finalize(NULL), CKR_OK);
    free(message);
    free(out);
    free(tag);
    free(iv);
}

/* Structures that say how large they are, on blocks of exactly that size. */
void bad_extension(void)
{
    static const size_t sizes[] = {
        sizeof(CK_ULONG),
        offsetof(CK_TOKEN_INFO_EXTENDED, ulBodyColor),
        offsetof(CK_TOKEN_INFO_EXTENDED, ulFirmwareChecksum),
        offsetof(CK_TOKEN_INFO_EXTENDED, ulFirmwareChecksum) + 1,
        sizeof(CK_TOKEN_INFO_EXTENDED),
        sizeof(CK_TOKEN_INFO_EXTENDED) + 8,
    };
    CK_ULONG room = 0;

    load();
    RV(fx->C_EX_GetTokenInfoExtended(SLOT, NULL), CKR_CRYPTOKI_NOT_INITIALIZED);
    RV(f->C_Initialize(NULL), CKR_OK);
    RV(fx->C_EX_GetTokenInfoExtended(SLOT, NULL), CKR_ARGUMENTS_BAD);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        CK_TOKEN_INFO_EXTENDED *info = calloc(1, sizes[i]);
        bool fits = i > 1;

        info->ulSizeofThisStructure = sizes[i];
        RV(fx->C_EX_GetTokenInfoExtended(SLOT, info), fits ? CKR_OK : CKR_ARGUMENTS_BAD);
        EXPECT(info->ulSizeofThisStructure <= sizeof *info);
        EXPECT(!fits || info->ulTokenType == 1);
        free(info);
    }
    RV(fx->C_EX_GetTokenName(open_session(), NULL, NULL), CKR_ARGUMENTS_BAD);
    RV(fx->C_EX_GetTokenName(open_session(), NULL, &room), CKR_FUNCTION_NOT_SUPPORTED);
    RV(fx->C_EX_FreeBuffer(&room), CKR_FUNCTION_NOT_SUPPORTED);
    RV(f->C_Finalize(NULL), CKR_OK);
}
