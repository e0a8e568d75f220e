/* The functions that pcscd calls; a Lun is the reader's number in its upper half. */
#include "reader.h"

#include <pthread.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *readers[PCSCLITE_MAX_READERS];

/* pcscd closes a reader only when nobody uses it any more. */
static struct reader *find(DWORD Lun)
{
    DWORD number = Lun >> 16;
    struct reader *reader;

    if (number >= PCSCLITE_MAX_READERS || (Lun & 0xFFFF) != 0)
        return NULL;
    pthread_mutex_lock(&lock);
    reader = readers[number];
    pthread_mutex_unlock(&lock);
    return reader;
}

RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName)
{
    DWORD number = Lun >> 16;
    RESPONSECODE result = IFD_COMMUNICATION_ERROR;

    if (number >= PCSCLITE_MAX_READERS || (Lun & 0xFFFF) != 0 || DeviceName == NULL)
        return result;
    pthread_mutex_lock(&lock);
    if (readers[number] == NULL && (readers[number] = reader_open(DeviceName)) != NULL)
        result = IFD_SUCCESS;
    pthread_mutex_unlock(&lock);
    return result;
}

/* The socket's name is in DEVICENAME, and nowhere else. */
RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel)
{
    (void)Lun;
    (void)Channel;
    return IFD_NO_SUCH_DEVICE;
}

RESPONSECODE IFDHCloseChannel(DWORD Lun)
{
    struct reader *reader = find(Lun);

    if (reader == NULL)
        return IFD_COMMUNICATION_ERROR;
    pthread_mutex_lock(&lock);
    readers[Lun >> 16] = NULL;
    pthread_mutex_unlock(&lock);
    reader_close(reader);
    return IFD_SUCCESS;
}

static RESPONSECODE watch(DWORD Lun, int timeout)
{
    struct reader *reader = find(Lun);

    if (reader == NULL)
        return IFD_NO_SUCH_DEVICE;
    reader_watch(reader, timeout);
    return IFD_SUCCESS;
}

static RESPONSECODE stop_watching(DWORD Lun)
{
    struct reader *reader = find(Lun);

    if (reader == NULL)
        return IFD_NO_SUCH_DEVICE;
    reader_wake(reader);
    return IFD_SUCCESS;
}

static RESPONSECODE give(const void *value, size_t size, PDWORD Length, PUCHAR Value)
{
    if (*Length < size)
        return IFD_ERROR_INSUFFICIENT_BUFFER;
    memcpy(Value, value, size);
    *Length = size;
    return IFD_SUCCESS;
}

static RESPONSECODE give_number(unsigned char number, PDWORD Length, PUCHAR Value)
{
    return give(&number, sizeof number, Length, Value);
}

RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value)
{
    RESPONSECODE (*watching)(DWORD, int) = watch;
    RESPONSECODE (*stopping)(DWORD) = stop_watching;
    struct reader *reader = find(Lun);
    unsigned char atr[MAX_ATR_SIZE];

    if (reader == NULL || Length == NULL || Value == NULL)
        return IFD_COMMUNICATION_ERROR;
    switch (Tag) {
    case TAG_IFD_ATR:
        return give(atr, reader_atr(reader, atr), Length, Value);
    case TAG_IFD_SLOTS_NUMBER:
    case TAG_IFD_THREAD_SAFE:
        return give_number(1, Length, Value);
    case TAG_IFD_POLLING_THREAD_KILLABLE:
        return give_number(0, Length, Value);
    case TAG_IFD_SIMULTANEOUS_ACCESS:
        return give_number(PCSCLITE_MAX_READERS, Length, Value);
    case TAG_IFD_POLLING_THREAD_WITH_TIMEOUT:
        return give(&watching, sizeof watching, Length, Value);
    case TAG_IFD_STOP_POLLING_THREAD:
        return give(&stopping, sizeof stopping, Length, Value);
    default:
        return IFD_ERROR_TAG;
    }
}

RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value)
{
    (void)Lun;
    (void)Tag;
    (void)Length;
    (void)Value;
    return IFD_NOT_SUPPORTED;
}

/* APDUs are passed whole, hence both protocols are the same here. */
RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1,
                                       UCHAR PTS2, UCHAR PTS3)
{
    (void)Lun;
    (void)Protocol;
    (void)Flags;
    (void)PTS1;
    (void)PTS2;
    (void)PTS3;
    return IFD_SUCCESS;
}

RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength)
{
    struct reader *reader = find(Lun);
    bool up = Action == IFD_POWER_UP;

    if (reader == NULL || Atr == NULL || AtrLength == NULL)
        return IFD_COMMUNICATION_ERROR;
    *AtrLength = 0;
    if (Action == IFD_POWER_DOWN) {
        reader_power(reader, POWER_DOWN);
        return IFD_SUCCESS;
    }
    if (!up && Action != IFD_RESET)
        return IFD_NOT_SUPPORTED;
    if (!reader_power(reader, up ? POWER_UP : RESET))
        return IFD_ERROR_POWER_ACTION;
    *AtrLength = reader_atr(reader, Atr);
    return *AtrLength > 0 ? IFD_SUCCESS : IFD_ERROR_POWER_ACTION;
}

RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer, DWORD TxLength,
                               PUCHAR RxBuffer, PDWORD RxLength, PSCARD_IO_HEADER RecvPci)
{
    struct reader *reader = find(Lun);
    RESPONSECODE result;
    size_t size;

    if (RxLength == NULL)
        return IFD_COMMUNICATION_ERROR;
    /* pcscd logs so many bytes of the buffer whatever is answered here. */
    size = *RxLength;
    *RxLength = 0;
    if (reader == NULL || RxBuffer == NULL || TxLength > MAX_BUFFER_SIZE_EXTENDED)
        return IFD_COMMUNICATION_ERROR;
    result = reader_transmit(reader, TxBuffer, TxLength, RxBuffer, &size);
    if (result == IFD_SUCCESS)
        *RxLength = size;
    if (RecvPci != NULL)
        RecvPci->Protocol = SendPci.Protocol;
    return result;
}

RESPONSECODE IFDHICCPresence(DWORD Lun)
{
    struct reader *reader = find(Lun);

    if (reader == NULL)
        return IFD_NO_SUCH_DEVICE;
    return reader_has_card(reader) ? IFD_ICC_PRESENT : IFD_ICC_NOT_PRESENT;
}

RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength,
                         PUCHAR RxBuffer, DWORD RxLength, LPDWORD pdwBytesReturned)
{
    (void)Lun;
    (void)TxBuffer;
    (void)TxLength;
    (void)RxBuffer;
    (void)RxLength;
    if (pdwBytesReturned != NULL)
        *pdwBytesReturned = 0;
    /* Everybody asks for features (PC/SC part 10, 2.2); there are none. */
    return dwControlCode == CM_IOCTL_GET_FEATURE_REQUEST ? IFD_SUCCESS : IFD_NOT_SUPPORTED;
}
