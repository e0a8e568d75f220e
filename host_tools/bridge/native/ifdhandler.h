/* What pcsc-lite calls in a driver (IFD handler 3.0): the types and numbers of its ifdhandler.h and
 * wintypes.h, as far as this driver needs them, so that it compiles where those are not installed. */
#ifndef KLYUCH_IFDHANDLER_H
#define KLYUCH_IFDHANDLER_H

#define EXPORT __attribute__((visibility("default")))

typedef unsigned char UCHAR, *PUCHAR;
typedef unsigned long DWORD, *PDWORD, *LPDWORD;
typedef char *LPSTR;
typedef long RESPONSECODE;

typedef struct {
    DWORD Protocol;
    DWORD Length;
} SCARD_IO_HEADER, *PSCARD_IO_HEADER;

#define MAX_ATR_SIZE 33
#define PCSCLITE_MAX_READERS 16
/* Of a command or a response: an extended APDU with all its lengths. */
#define MAX_BUFFER_SIZE_EXTENDED 65548

#define TAG_IFD_ATR 0x0303
#define TAG_IFD_THREAD_SAFE 0x0FAD
#define TAG_IFD_SLOTS_NUMBER 0x0FAE
#define TAG_IFD_SIMULTANEOUS_ACCESS 0x0FAF
#define TAG_IFD_POLLING_THREAD_KILLABLE 0x0FB1
#define TAG_IFD_STOP_POLLING_THREAD 0x0FB2
#define TAG_IFD_POLLING_THREAD_WITH_TIMEOUT 0x0FB3

#define IFD_POWER_UP 500
#define IFD_POWER_DOWN 501
#define IFD_RESET 502

#define CM_IOCTL_GET_FEATURE_REQUEST (0x42000000 + 3400)

#define IFD_SUCCESS 0
#define IFD_ERROR_TAG 600
#define IFD_ERROR_POWER_ACTION 608
#define IFD_COMMUNICATION_ERROR 612
#define IFD_NOT_SUPPORTED 614
#define IFD_ICC_PRESENT 615
#define IFD_ICC_NOT_PRESENT 616
#define IFD_NO_SUCH_DEVICE 617
#define IFD_ERROR_INSUFFICIENT_BUFFER 618

EXPORT RESPONSECODE IFDHCreateChannelByName(DWORD Lun, LPSTR DeviceName);
EXPORT RESPONSECODE IFDHCreateChannel(DWORD Lun, DWORD Channel);
EXPORT RESPONSECODE IFDHCloseChannel(DWORD Lun);
EXPORT RESPONSECODE IFDHGetCapabilities(DWORD Lun, DWORD Tag, PDWORD Length, PUCHAR Value);
EXPORT RESPONSECODE IFDHSetCapabilities(DWORD Lun, DWORD Tag, DWORD Length, PUCHAR Value);
EXPORT RESPONSECODE IFDHSetProtocolParameters(DWORD Lun, DWORD Protocol, UCHAR Flags, UCHAR PTS1,
                                              UCHAR PTS2, UCHAR PTS3);
EXPORT RESPONSECODE IFDHPowerICC(DWORD Lun, DWORD Action, PUCHAR Atr, PDWORD AtrLength);
EXPORT RESPONSECODE IFDHTransmitToICC(DWORD Lun, SCARD_IO_HEADER SendPci, PUCHAR TxBuffer,
                                      DWORD TxLength, PUCHAR RxBuffer, PDWORD RxLength,
                                      PSCARD_IO_HEADER RecvPci);
EXPORT RESPONSECODE IFDHICCPresence(DWORD Lun);
EXPORT RESPONSECODE IFDHControl(DWORD Lun, DWORD dwControlCode, PUCHAR TxBuffer, DWORD TxLength,
                                PUCHAR RxBuffer, DWORD RxLength, LPDWORD pdwBytesReturned);

#endif
