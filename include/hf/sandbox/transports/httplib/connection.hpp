#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_CONNECTION_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_CONNECTION_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>

#if !defined(CPPHTTPLIB_OPENSSL_SUPPORT)
#error \
    "cpp-httplib has to be used with CPPHTTPLIB_OPENSSL_SUPPORT and the other flags that its library was compiled with, else its classes differ in size: take them from its CMake package or pkg-config file"
#endif
#include <httplib.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <string>
#include <utility>

namespace hf::detail {

/// One cpp-httplib client, which holds at most one connection and serves one request at a time.
class httplib_connection {
 public:
  /// `address` is numeric, or the path of a unix socket.
  httplib_connection(http::request const& rq, http::url const& target, std::string const& address,
                     http::tls_settings const& tls) {
    bool const local = !rq.unix_socket.empty();
    auto const& host = local ? rq.unix_socket : target.host;
    if (target.tls()) {
      auto const& key = tls.key_file.empty() ? tls.cert_file : tls.key_file;
      auto client = std::make_unique<httplib::SSLClient>(host, target.port, tls.cert_file, key);
      if (!client->is_valid())
        throw error(errc::tls_failed, "cpp-httplib cannot use the client certificate");
      watch_alerts(*client);
      client_ = std::move(client);
      client_->enable_server_certificate_verification(true);
      if (tls.ca_file.empty() && tls.ca_path.empty())
        client_->set_ca_cert_path("", X509_get_default_cert_dir());
      else
        client_->set_ca_cert_path(tls.ca_file, tls.ca_path);
    } else {
      client_ = std::make_unique<httplib::ClientImpl>(host, target.port);
    }
    if (local)
      client_->set_address_family(AF_UNIX);
    else
      client_->set_hostname_addr_map({{host, address}});
    client_->set_keep_alive(true);
    client_->set_follow_location(false);
    client_->set_decompress(false);
    client_->set_tcp_nodelay(!local);
    keep_target(*client_);
    client_->set_socket_options([this](socket_t s) { on_socket(s); });
    // Called between the end of an answer and what is done with the connection then.
    client_->set_logger([this, tls = target.tls()](auto const&, auto const&) {
      broke_ = tls ? !peer_ended_ : errno_tells_break();
    });
  }
  httplib_connection(httplib_connection const&) = delete;
  httplib_connection& operator=(httplib_connection const&) = delete;

  [[nodiscard]] httplib::ClientImpl& client() noexcept { return *client_; }

  /// Sets the limits of one request.
  void set_limits(http::request const& rq) {
    auto const limit = [](std::chrono::milliseconds wanted) {
      return wanted.count() > 0 ? wanted : std::chrono::milliseconds(std::chrono::hours(24));
    };
    client_->set_connection_timeout(limit(rq.connect_timeout));
    client_->set_read_timeout(limit(rq.stall_timeout));
    client_->set_write_timeout(limit(rq.stall_timeout));
    sockets_ = 0;
    broke_ = false;
  }

  /// Whether the connection broke before the answer was over. Newer versions of cpp-httplib take
  /// every end of a connection for the end of a body that has neither length nor chunks: over plain
  /// sockets the failed system call's `errno` is what is left of it (set it to 0 after each of the
  /// caller's functions), with TLS the missing alert.
  [[nodiscard]] bool broke() const noexcept { return broke_; }

  /// Whether the connection has been silent since its last answer. One that the server has closed,
  /// or talks on unasked, is of no use.
  [[nodiscard]] bool still_good() const {
    if (client_->is_socket_open() == 0)
      return false;
#if defined(_WIN32)
    return true;
#else
    char byte = 0;
    auto const n = ::recv(client_->socket(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
#endif
  }
  [[nodiscard]] bool is_open() const {
    return client_->is_socket_open() != 0;
  }

  /// After the first exchange: a new socket would mean that a request is sent again.
  void mark_used() noexcept {
    used_ = true;
  }

  /// cpp-httplib wanted to send a request again on another connection.
  struct would_resend {};

 private:
  /// Newer versions renamed the setting that leaves the request line alone.
  template <class Client>
  static void keep_target(Client& client) {
    if constexpr (requires { client.set_path_encode(false); })
      client.set_path_encode(false);
    else
      client.set_url_encode(false);
  }

  /// Keeps whether the peer announced the connection's end.
  void watch_alerts(httplib::SSLClient& client) {
    auto* const context = tls_context(client);
    SSL_CTX_set_app_data(context, this);
    SSL_CTX_set_info_callback(context, [](SSL const* ssl, int where, int value) {
      if (where == SSL_CB_READ_ALERT && (value & 0xff) == SSL_AD_CLOSE_NOTIFY)
        static_cast<httplib_connection*>(SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl)))->peer_ended_ =
            true;
    });
  }
  template <class Client>
  static SSL_CTX* tls_context(Client& client) {
    if constexpr (requires { client.tls_context(); })
      return static_cast<SSL_CTX*>(client.tls_context());
    else
      return client.ssl_context();
  }

  static bool errno_tells_break() noexcept {
    return errno == ECONNRESET || errno == ECONNABORTED || errno == ENOTCONN ||
           errno == ETIMEDOUT || errno == EHOSTUNREACH || errno == ENETUNREACH;
  }

  void on_socket(socket_t s) {
    if (++sockets_ == 1 && !used_)
      return;
#if defined(_WIN32)
    ::closesocket(s);
#else
    ::close(s);
#endif
    throw would_resend{};
  }

  std::unique_ptr<httplib::ClientImpl> client_;
  int sockets_ = 0;
  bool used_ = false;
  bool peer_ended_ = false;
  bool broke_ = false;
};

}  // namespace hf::detail

#endif
