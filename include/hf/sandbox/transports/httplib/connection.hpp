#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_CONNECTION_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_CONNECTION_HPP

#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/transports/httplib/socket.hpp>

#if !defined(CPPHTTPLIB_OPENSSL_SUPPORT)
#error \
    "cpp-httplib has to be used with CPPHTTPLIB_OPENSSL_SUPPORT and the other flags that its library was compiled with, else its classes differ in size: take them from its CMake package or pkg-config file"
#endif
#include <httplib.h>

#include <string_view>

namespace hf::detail {

static_assert(std::string_view(CPPHTTPLIB_VERSION).substr(0, 2) != "0." ||
                  (CPPHTTPLIB_VERSION[3] != '.' &&
                   std::string_view(CPPHTTPLIB_VERSION).substr(0, 5) != "0.10."),
              "httplib_transport needs cpp-httplib 0.11 or later");

/// A cpp-httplib client that works on a stream of ours.
class httplib_client : public httplib::ClientImpl {
 public:
  explicit httplib_client(http::url const& target) : ClientImpl(target.host, target.port) {
    set_keep_alive(true);
    keep_target(*this);
  }
  using ClientImpl::process_request;

 private:
  /// Newer versions renamed the setting that leaves the request line alone.
  template <class Client>
  static void keep_target(Client& client) {
    if constexpr (requires { client.set_path_encode(false); })
      client.set_path_encode(false);
    else
      client.set_url_encode(false);
  }
};

/// One connection and the client that writes requests to it.
struct httplib_connection {
  explicit httplib_connection(http::url const& target) : client(target) {}
  httplib_client client;
  httplib_socket socket = {};
};

}  // namespace hf::detail

#endif
