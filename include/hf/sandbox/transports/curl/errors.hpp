#ifndef HF_SANDBOX_TRANSPORTS_CURL_ERRORS_HPP
#define HF_SANDBOX_TRANSPORTS_CURL_ERRORS_HPP

#include <hf/sandbox/error.hpp>

#include <curl/curl.h>

#include <filesystem>
#include <string>
#include <system_error>

namespace hf::detail {

/// The code for a failed transfer. `connected`: the request was about to be written, or beyond.
template <class = void>
[[nodiscard]] errc curl_errc(CURLcode result, std::string const& text, bool connected) {
  switch (result) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
      return errc::resolve_failed;
    case CURLE_COULDNT_CONNECT:
    case CURLE_INTERFACE_FAILED:
    case CURLE_PROXY:
    case CURLE_FAILED_INIT:
      return errc::connect_failed;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_ENGINE_NOTFOUND:
    case CURLE_SSL_ENGINE_SETFAILED:
    case CURLE_SSL_ENGINE_INITFAILED:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_USE_SSL_FAILED:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CRL_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_PINNEDPUBKEYNOTMATCH:
    case CURLE_SSL_INVALIDCERTSTATUS:
    case CURLE_SSL_CLIENTCERT:
      return errc::tls_failed;
    case CURLE_OPERATION_TIMEDOUT:
      return errc::request_timed_out;
    case CURLE_RECV_ERROR:
      // The same code reports malformed chunks; only the text tells them from a broken connection.
      if (text.find("chunk") != std::string::npos)
        return errc::protocol_error;
      return connected ? errc::connection_lost : errc::connect_failed;
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_PARTIAL_FILE:
    case CURLE_ABORTED_BY_CALLBACK:
      return connected ? errc::connection_lost : errc::connect_failed;
    case CURLE_URL_MALFORMAT:
      return errc::invalid_argument;
    case CURLE_NOT_BUILT_IN:
      return errc::unsupported;
    default:
      return connected ? errc::protocol_error : errc::connect_failed;
  }
}

/// Whether the bundle of certification authorities that libcurl was built for is there.
template <class = void>
[[nodiscard]] bool curl_has_ca_bundle() {
  static bool const found = [] {
    auto const* const info = curl_version_info(CURLVERSION_NOW);
    if (info == nullptr || info->age < CURLVERSION_SEVENTH || info->cainfo == nullptr)
      return false;
    std::error_code ignored;
    return std::filesystem::is_regular_file(info->cainfo, ignored);
  }();
  return found;
}

}  // namespace hf::detail

#endif
