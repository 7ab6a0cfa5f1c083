#ifndef HF_SANDBOX_TRANSPORTS_CURL_ROUTE_HPP
#define HF_SANDBOX_TRANSPORTS_CURL_ROUTE_HPP

#include <hf/sandbox/detail/merge_tls.hpp>
#include <hf/sandbox/detail/proxy.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/curl/errors.hpp>
#include <hf/sandbox/transports/options.hpp>

#include <curl/curl.h>

#include <new>
#include <string>
#include <utility>

namespace hf::detail {

/// Sets an option of an easy handle.
template <class Value>
void curl_set(CURL* easy, CURLoption option, Value value) {
  auto const result = curl_easy_setopt(easy, option, value);
  if (result == CURLE_OUT_OF_MEMORY)
    throw std::bad_alloc();
  if (result != CURLE_OK)
    throw error(errc::unsupported, std::string("libcurl refuses a setting that is needed: ") +
                                       curl_easy_strerror(result));
}

/// How a request reaches its server. A handle that is set up for one route serves the next request
/// on it without being set up again, and probably has a connection.
template <class = void>
class basic_curl_route {
 public:
  basic_curl_route(http::request const& rq, http::url const& target,
                   transport_options const& options)
      : origin_(target.origin()), unix_socket_(rq.unix_socket), tls_(target.tls()) {
    if (unix_socket_.empty())
      proxy_ = proxy_for(target, options.proxy);
    key_ = origin_ + '\n' + unix_socket_;
    if (!proxy_.empty())
      key_ += '\n' + proxy_;
    if (!tls_)
      return;
    trust_ = merge_tls(rq.tls, options.tls);
    for (auto const* const part :
         {&trust_.ca_file, &trust_.ca_path, &trust_.cert_file, &trust_.key_file})
      key_ += '\n' + *part;
  }

  /// Scheme, host and port.
  [[nodiscard]] std::string const& origin() const noexcept { return origin_; }
  /// The same text for the same route.
  [[nodiscard]] std::string const& key() const noexcept { return key_; }
  /// Whether the proxy gets requests whole, with the absolute URL as their target.
  [[nodiscard]] bool absolute_target() const noexcept { return !proxy_.empty() && !tls_; }

  /// Sets what all requests on this route have in common on a handle that was just reset.
  void apply(CURL* easy) const {
    curl_set(easy, CURLOPT_NOSIGNAL, 1L);
    curl_set(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_set(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    curl_set(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_set(easy, CURLOPT_BUFFERSIZE, 512L * 1024);
    curl_set(easy, CURLOPT_UPLOAD_BUFFERSIZE, 512L * 1024);
    curl_set(easy, CURLOPT_TCP_KEEPALIVE, 1L);
#if LIBCURL_VERSION_NUM >= 0x075700
    // A cancelled look-up must not be waited for: its thread cleans up after itself.
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
#endif
    // Set also when empty: libcurl would look into the environment itself.
    curl_set(easy, CURLOPT_PROXY, proxy_.c_str());
    curl_set(easy, CURLOPT_NOPROXY, "");
    if (!unix_socket_.empty())
      curl_set(easy, CURLOPT_UNIX_SOCKET_PATH, unix_socket_.c_str());
    if (tls_)
      apply_tls(easy);
  }

 private:
  void apply_tls(CURL* easy) const {
    auto const& file = trust_.ca_file;
    auto const& path = trust_.ca_path;
    curl_set(easy, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_set(easy, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_set(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!file.empty() || !path.empty()) {
      curl_set(easy, CURLOPT_CAINFO, file.empty() ? nullptr : file.c_str());
      curl_set(easy, CURLOPT_CAPATH, path.empty() ? nullptr : path.c_str());
    } else if (curl_has_ca_bundle()) {
      // With the directory set as well, every new connection parses the whole bundle again.
      curl_set(easy, CURLOPT_CAPATH, static_cast<char const*>(nullptr));
    }
    if (!trust_.cert_file.empty())
      curl_set(easy, CURLOPT_SSLCERT, trust_.cert_file.c_str());
    if (!trust_.key_file.empty())
      curl_set(easy, CURLOPT_SSLKEY, trust_.key_file.c_str());
  }

  std::string origin_;
  std::string unix_socket_;
  std::string proxy_;
  std::string key_;
  http::tls_settings trust_;
  bool tls_;
};
using curl_route = basic_curl_route<>;

}  // namespace hf::detail

#endif
