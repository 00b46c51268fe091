/* parts: dispatcher */
/* SPDX-License-Identifier: MIT */
#include "common/curl_word.h"

#include "tests/unit/test.h"
#include <curl/curl.h>

TEST(words)
{
    static const struct {
        int code;
        long verify;
        const char *text;
        bool has_status;
        const char *word;
    } rows[] = {
        {CURLE_OK, 0, "", true, ""},
        {CURLE_PEER_FAILED_VERIFICATION, 10, "SSL certificate problem: certificate has expired", false,
         "certificate_expired"},
        {CURLE_PEER_FAILED_VERIFICATION, 9, "SSL certificate problem: certificate is not yet valid", false,
         "certificate_not_valid_yet"},
        {CURLE_PEER_FAILED_VERIFICATION, 20, "SSL certificate problem: unable to get local issuer certificate",
         false, "certificate_not_trusted"},
        {CURLE_PEER_FAILED_VERIFICATION, 18, "SSL certificate problem: self-signed certificate", false,
         "certificate_not_trusted"},
        {CURLE_PEER_FAILED_VERIFICATION, 0,
         "SSL: no alternative certificate subject name matches target host name 'x'", false,
         "certificate_wrong_name"},
        {CURLE_SSL_CONNECT_ERROR, 0, "error:0A00010B:SSL routines::wrong version number", false, "tls_failed"},
        {CURLE_SSL_CONNECT_ERROR, 0, "OpenSSL SSL_connect: Connection reset by peer in connection to x", false,
         "reset"},
        {CURLE_SSL_CONNECT_ERROR, 0, "error:0A000410:SSL routines::sslv3 alert handshake failure", false,
         "client_certificate_refused"},
        {CURLE_RECV_ERROR, 0,
         "OpenSSL SSL_read: error:0A00045C:SSL routines::tlsv13 alert certificate required, errno 0", false,
         "client_certificate_refused"},
        {CURLE_RECV_ERROR, 0, "OpenSSL SSL_read: error:0A000418:SSL routines::tlsv1 alert unknown ca, errno 0",
         false, "client_certificate_refused"},
        {CURLE_RECV_ERROR, 0, "Recv failure: Connection reset by peer", false, "reset"},
        {CURLE_RECV_ERROR, 0, "Recv failure: Connection reset by peer", true, "broken"},
        {CURLE_SSL_CERTPROBLEM, 0, "could not load PEM client certificate", false, "client_certificate_unusable"},
        {CURLE_OPERATION_TIMEDOUT, 0, "", false, "timeout"},
        {CURLE_COULDNT_CONNECT, 0, "", false, "refused"},
        {CURLE_COULDNT_RESOLVE_HOST, 0, "", false, "unresolvable"},
        {CURLE_GOT_NOTHING, 0, "Empty reply from server", false, "reset"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
        assert_string_equal(curl_word(rows[i].code, rows[i].verify, rows[i].text, rows[i].has_status),
                            rows[i].word);
    assert_non_null(curl_word_text("certificate_expired"));
    assert_null(curl_word_text("reset"));
}

TEST_MAIN(NULL, NULL)
