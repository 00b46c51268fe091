/* SPDX-License-Identifier: MIT */
/* curl_word.c - turns curl's and OpenSSL's numbers into words. */
#include "common/curl_word.h"

#include <curl/curl.h>
#include <string.h>

/* X509_V_ERR_* of OpenSSL's x509_vfy.h, which do not change. */
enum { NOT_YET_VALID = 9, HAS_EXPIRED = 10, HOSTNAME_MISMATCH = 62, IP_ADDRESS_MISMATCH = 64 };

static const struct {
    const char *word, *text;
} texts[] = {
    {"certificate_not_trusted",
     "The robot's certificate is not trusted: its CA is not among those of robot.ca_file or the system."},
    {"certificate_expired", "The robot's certificate has expired."},
    {"certificate_not_valid_yet", "The robot's certificate is not valid yet."},
    {"certificate_wrong_name", "The robot's certificate is for another name than that of its base URL."},
    {"client_certificate_refused",
     "The robot wants a client certificate, or does not accept ours (robot.cert_file)."},
    {"client_certificate_unusable", "robot.cert_file, robot.key_file or robot.ca_file cannot be used."},
    {"tls_failed", "TLS with the robot failed; it may speak plain HTTP there, or another version of TLS."},
};

static bool has(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

/* The TLS alerts by which a server rejects our certificate (RFC 8446, 6.2). */
static bool is_client_refused(const char *text)
{
    return has(text, "alert") &&
           (has(text, "certificate required") || has(text, "bad certificate") || has(text, "unknown ca") ||
            has(text, "certificate expired") || has(text, "certificate revoked") ||
            has(text, "certificate unknown") || has(text, "unsupported certificate") ||
            has(text, "access denied") || has(text, "handshake failure"));
}

static const char *verify_word(long verify, const char *text)
{
    if (verify == HAS_EXPIRED || has(text, "certificate has expired"))
        return "certificate_expired";
    if (verify == NOT_YET_VALID || has(text, "not yet valid"))
        return "certificate_not_valid_yet";
    if (verify == HOSTNAME_MISMATCH || verify == IP_ADDRESS_MISMATCH || has(text, "subject name"))
        return "certificate_wrong_name";
    return "certificate_not_trusted";
}

const char *curl_word(int code, long verify, const char *text, bool has_status)
{
    switch (code) {
    case CURLE_OK:
        return "";
    case CURLE_OPERATION_TIMEDOUT:
        return "timeout";
    case CURLE_COULDNT_CONNECT:
        return "refused";
    case CURLE_COULDNT_RESOLVE_HOST:
        return "unresolvable";
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return verify_word(verify, text);
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
        return "client_certificate_unusable";
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CIPHER:
    case CURLE_USE_SSL_FAILED:
        return is_client_refused(text)                      ? "client_certificate_refused"
               : has(text, "reset") || has(text, "SYSCALL") ? "reset"
                                                            : "tls_failed";
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        if (is_client_refused(text) && !has_status)
            return "client_certificate_refused";
        return has_status ? "broken" : "reset";
    default:
        return has_status ? "broken" : "reset";
    }
}

const char *curl_word_text(const char *word)
{
    for (unsigned i = 0; i < sizeof(texts) / sizeof(*texts); i++)
        if (strcmp(texts[i].word, word) == 0)
            return texts[i].text;
    return NULL;
}

bool curl_word_is_tls_refusal(const char *word)
{
    return strcmp(word, "client_certificate_refused") == 0;
}
