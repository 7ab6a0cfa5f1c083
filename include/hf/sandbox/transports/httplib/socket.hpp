#ifndef HF_SANDBOX_TRANSPORTS_HTTPLIB_SOCKET_HPP
#define HF_SANDBOX_TRANSPORTS_HTTPLIB_SOCKET_HPP

#include <hf/sandbox/detail/request_clock.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/url.hpp>

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#endif
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

namespace hf::detail {

/// A connection, plain or TLS, whose every wait keeps the limits of the request it serves.
class httplib_socket {
 public:
#if defined(_WIN32)
  using handle = SOCKET;
  static constexpr handle none = INVALID_SOCKET;
#else
  using handle = int;
  static constexpr handle none = -1;
#endif

  httplib_socket() = default;
  httplib_socket(httplib_socket const&) = delete;
  httplib_socket& operator=(httplib_socket const&) = delete;
  ~httplib_socket() {
    ssl_.reset();
    close();
  }

  /// The request that the connection serves from now on; both must outlive what it is used for.
  void serve(http::request const& rq, request_clock& clock, std::string origin) {
    rq_ = &rq;
    clock_ = &clock;
    origin_ = std::move(origin);
  }

  [[nodiscard]] handle native() const noexcept { return socket_; }

  /// Connects to a numeric address, or to the unix socket of the request.
  void connect(std::string const& address, std::uint16_t port) {
    if (!rq_->unix_socket.empty()) {
#if !defined(_WIN32)
      sockaddr_un to{};
      to.sun_family = AF_UNIX;
      std::memcpy(to.sun_path, rq_->unix_socket.data(), rq_->unix_socket.size());
      connect_to(AF_UNIX, reinterpret_cast<sockaddr const*>(&to), sizeof to);
#endif
      return;
    }
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
    addrinfo* list = nullptr;
    if (::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &list) != 0)
      fail(errc::resolve_failed, address + " is no address", 0);
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> const owner(list, &::freeaddrinfo);
    connect_to(list->ai_family, list->ai_addr, list->ai_addrlen);
    int const on = 1;
    ::setsockopt(socket_, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<char const*>(&on), sizeof on);
  }

  /// The TLS handshake: verifies the peer and its name.
  void start_tls(std::string const& host, http::tls_settings const& tls) {
    auto const context = make_context(tls);
    ssl_.reset(SSL_new(context.get()));
    if (!ssl_ || SSL_set_fd(ssl_.get(), static_cast<int>(socket_)) != 1)
      fail(errc::tls_failed, "no TLS session: " + tls_reason(), 0);
    auto* const parameters = SSL_get0_param(ssl_.get());
    bool const is_address = X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str()) == 1;
    if (!is_address && (SSL_set_tlsext_host_name(ssl_.get(), host.c_str()) != 1 ||
                        SSL_set1_host(ssl_.get(), host.c_str()) != 1))
      fail(errc::tls_failed, host + " is no name for TLS", 0);
    ERR_clear_error();
    for (int done = 0; (done = SSL_connect(ssl_.get())) != 1; ERR_clear_error()) {
      auto const events = wanted(done);
      if (events == 0)
        fail(errc::tls_failed, origin_ + ": the TLS handshake failed: " + tls_reason(), 0);
      wait(events);
    }
  }

  enum class end { none, good, broken };
  /// Reads some bytes; zero at the end, which `how` describes.
  [[nodiscard]] std::size_t read(char* to, std::size_t size, end& how) {
    how = end::none;
    while (true) {
      short events = readable;
      if (ssl_) {
        ERR_clear_error();
        std::size_t n = 0;
        int const done = SSL_read_ex(ssl_.get(), to, size, &n);
        if (done == 1)
          return moved(n);
        how = SSL_get_error(ssl_.get(), done) == SSL_ERROR_ZERO_RETURN ? end::good : end::broken;
        events = wanted(done);
        if (events == 0)
          return 0;
      } else {
        auto const n = ::recv(socket_, to, static_cast<native_size>(size), 0);
        if (n > 0)
          return moved(static_cast<std::size_t>(n));
        how = n == 0 ? end::good : end::broken;
        if (n == 0 || !would_block())
          return 0;
      }
      wait(events);
    }
  }

  /// Writes some bytes; zero when the connection is broken.
  [[nodiscard]] std::size_t write(char const* from, std::size_t size) {
    while (true) {
      short events = writable;
      if (ssl_) {
        ERR_clear_error();
        std::size_t n = 0;
        int const done = SSL_write_ex(ssl_.get(), from, size, &n);
        if (done == 1)
          return moved(n);
        events = wanted(done);
        if (events == 0)
          return 0;
      } else {
        auto const n = ::send(socket_, from, static_cast<native_size>(size), 0);
        if (n > 0)
          return moved(static_cast<std::size_t>(n));
        if (!would_block())
          return 0;
      }
      wait(events);
    }
  }

  /// Whether the connection has been silent since its last answer. One that the server has closed,
  /// or talks on unasked, is of no use.
  [[nodiscard]] bool still_good() const {
    char byte = 0;
    return ::recv(socket_, &byte, 1, MSG_PEEK) < 0 && would_block();
  }

 private:
#if defined(_WIN32)
  using native_size = int;
  using poll_entry = WSAPOLLFD;
  static int last_error() noexcept { return WSAGetLastError(); }
  static bool would_block() noexcept { return last_error() == WSAEWOULDBLOCK; }
  static bool connecting() noexcept { return last_error() == WSAEWOULDBLOCK; }
#else
  using native_size = std::size_t;
  using poll_entry = pollfd;
  static int last_error() noexcept { return errno; }
  static bool would_block() noexcept {
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
  }
  static bool connecting() noexcept { return errno == EINPROGRESS || errno == EINTR; }
#endif
  static constexpr short readable = POLLIN;
  static constexpr short writable = POLLOUT;

  std::size_t moved(std::size_t n) {
    clock_->moved();
    return n;
  }

  void close() noexcept {
#if defined(_WIN32)
    if (socket_ != none)
      ::closesocket(socket_);
#else
    if (socket_ != none)
      ::close(socket_);
#endif
    socket_ = none;
  }

  template <class Size>
  void connect_to(int family, sockaddr const* to, Size size) {
    close();
    socket_ = ::socket(family, SOCK_STREAM, 0);
    if (socket_ == none)
      fail(errc::connect_failed, origin_ + ": no socket", last_error());
#if defined(_WIN32)
    u_long on = 1;
    ::ioctlsocket(socket_, FIONBIO, &on);
#else
    ::fcntl(socket_, F_SETFD, FD_CLOEXEC);
    ::fcntl(socket_, F_SETFL, O_NONBLOCK);
#endif
    if (::connect(socket_, to, static_cast<socklen_t>(size)) == 0)
      return;
    int problem = last_error();
    if (connecting()) {
      wait(writable);
      socklen_t room = sizeof problem;
      ::getsockopt(socket_, SOL_SOCKET, SO_ERROR, reinterpret_cast<char*>(&problem), &room);
    }
    if (problem != 0)
      fail(errc::connect_failed, origin_ + ": cannot connect", problem);
  }

  /// Waits for events in slices short enough for a stop request to be noticed in time.
  void wait(short events) {
    constexpr auto slice = std::chrono::milliseconds(20);
    while (true) {
      if (rq_->stop.stop_requested())
        fail(errc::cancelled, "the request to " + origin_ + " was cancelled", 0);
      if (clock_->expired())
        fail(errc::request_timed_out, clock_->describe(origin_), 0);
      auto const most = rq_->stop.stop_possible() ? slice : std::chrono::milliseconds(60'000);
      poll_entry entry{};
      entry.fd = socket_;
      entry.events = events;
      auto const limit = static_cast<int>(clock_->left(most).count());
#if defined(_WIN32)
      int const ready = ::WSAPoll(&entry, 1, limit);
#else
      int const ready = ::poll(&entry, 1, limit);
#endif
      if (ready > 0)
        return;
    }
  }

  /// What TLS waits for; 0: it has failed or ended.
  [[nodiscard]] short wanted(int result) const noexcept {
    switch (SSL_get_error(ssl_.get(), result)) {
      case SSL_ERROR_WANT_READ:
        return readable;
      case SSL_ERROR_WANT_WRITE:
        return writable;
      default:
        return 0;
    }
  }

  [[nodiscard]] static std::string tls_reason() {
    char const* const text = ERR_reason_error_string(ERR_peek_last_error());
    return text == nullptr ? "the connection broke" : text;
  }

  struct context_deleter {
    void operator()(SSL_CTX* context) const noexcept { SSL_CTX_free(context); }
  };
  struct ssl_deleter {
    void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
  };
  using context_ptr = std::unique_ptr<SSL_CTX, context_deleter>;

  context_ptr make_context(http::tls_settings const& tls) const {
    ERR_clear_error();
    context_ptr made(SSL_CTX_new(TLS_client_method()));
    if (!made)
      fail(errc::tls_failed, "no TLS context: " + tls_reason(), 0);
    SSL_CTX_set_min_proto_version(made.get(), TLS1_2_VERSION);
    SSL_CTX_set_mode(made.get(), SSL_MODE_ENABLE_PARTIAL_WRITE |
                                     SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                     SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_verify(made.get(), SSL_VERIFY_PEER, nullptr);
    auto const* const file = tls.ca_file.empty() ? nullptr : tls.ca_file.c_str();
    auto const* const path = tls.ca_path.empty() ? nullptr : tls.ca_path.c_str();
    if (file != nullptr || path != nullptr) {
      if (SSL_CTX_load_verify_locations(made.get(), file, path) != 1)
        fail(errc::tls_failed, "cannot read the certification authorities in " + tls.ca_file +
                                   tls.ca_path + ": " + tls_reason(), 0);
    } else {
      // OpenSSL's own default paths, without the environment variables that would replace them.
      SSL_CTX_load_verify_locations(made.get(), nullptr, X509_get_default_cert_dir());
      SSL_CTX_load_verify_locations(made.get(), X509_get_default_cert_file(), nullptr);
    }
    auto const& key = tls.key_file.empty() ? tls.cert_file : tls.key_file;
    if (!tls.cert_file.empty() &&
        (SSL_CTX_use_certificate_chain_file(made.get(), tls.cert_file.c_str()) != 1 ||
         SSL_CTX_use_PrivateKey_file(made.get(), key.c_str(), SSL_FILETYPE_PEM) != 1))
      fail(errc::tls_failed, "cannot use the client certificate: " + tls_reason(), 0);
    return made;
  }

  [[noreturn]] void fail(errc code, std::string text, int system) const {
    error_details details;
    details.may_have_reached_peer = clock_->is_connected();
    details.system_error = system;
    if (system != 0)
      text += ": " + std::system_category().message(system);
    throw error(code, std::move(text), std::move(details));
  }

  http::request const* rq_ = nullptr;
  request_clock* clock_ = nullptr;
  std::string origin_;
  handle socket_ = none;
  std::unique_ptr<SSL, ssl_deleter> ssl_;
};

}  // namespace hf::detail

#endif
