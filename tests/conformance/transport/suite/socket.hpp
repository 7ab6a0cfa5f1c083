#ifndef HF_SANDBOX_TESTING_CONFORMANCE_SOCKET_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_SOCKET_HPP

#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#endif

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>

namespace hf::conformance {

#if defined(_WIN32)
using native_socket = SOCKET;
inline constexpr native_socket no_socket = INVALID_SOCKET;
inline void close_native(native_socket s) {
  closesocket(s);
}
inline constexpr int both_ways = SD_BOTH;
inline constexpr int sending_way = SD_SEND;
inline constexpr int send_flags = 0;
inline void start_sockets() {
  static bool const started = [] {
    WSADATA data;
    return WSAStartup(MAKEWORD(2, 2), &data) == 0;
  }();
  static_cast<void>(started);
}
#else
using native_socket = int;
inline constexpr native_socket no_socket = -1;
inline void close_native(native_socket s) {
  ::close(s);
}
inline constexpr int both_ways = SHUT_RDWR;
inline constexpr int sending_way = SHUT_WR;
#if defined(MSG_NOSIGNAL)
inline constexpr int send_flags = MSG_NOSIGNAL;
#else
inline constexpr int send_flags = 0;
#endif
inline void start_sockets() {}
#endif

/// Makes a socket that listens on 127.0.0.1 at a free port.
inline native_socket listen_tcp(int backlog, std::uint16_t& port) {
  start_sockets();
  auto const s = ::socket(AF_INET, SOCK_STREAM, 0);
  if (s == no_socket)
    throw std::runtime_error("socket() failed");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(s, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(s, backlog) != 0 ||
      ::getsockname(s, reinterpret_cast<sockaddr*>(&address), &size) != 0) {
    close_native(s);
    throw std::runtime_error("cannot listen on the loopback interface");
  }
  port = ntohs(address.sin_port);
  return s;
}

/// Connects to 127.0.0.1; `no_socket` when that fails.
inline native_socket connect_tcp(std::uint16_t port) {
  auto const s = ::socket(AF_INET, SOCK_STREAM, 0);
  if (s == no_socket)
    return s;
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  if (::connect(s, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0)
    return s;
  close_native(s);
  return no_socket;
}

#if !defined(_WIN32)
inline sockaddr_un unix_address(std::string const& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw std::runtime_error("socket path too long");
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

/// Makes a unix socket that listens.
inline native_socket listen_unix(std::string const& path) {
  auto const s = ::socket(AF_UNIX, SOCK_STREAM, 0);
  auto const address = unix_address(path);
  if (s == no_socket ||
      ::bind(s, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
      ::listen(s, 64) != 0)
    throw std::runtime_error("cannot listen on " + path);
  return s;
}

inline native_socket connect_unix(std::string const& path) {
  auto const s = ::socket(AF_UNIX, SOCK_STREAM, 0);
  auto const address = unix_address(path);
  if (s != no_socket &&
      ::connect(s, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0)
    return s;
  if (s != no_socket)
    close_native(s);
  return no_socket;
}
#endif

/// A byte stream of the test server: a socket, or TLS on one.
class channel {
 public:
  virtual ~channel() = default;
  /// Bytes read; 0 at the end, negative when the connection broke.
  virtual long read(char* data, std::size_t size) = 0;
  /// Bytes written; negative when the connection broke.
  virtual long write(char const* data, std::size_t size) = 0;
  /// Announces the end of what is written, where there are words for that.
  virtual void close_notify() {}
};

/// A plain socket as a channel; does not own it.
class plain_channel : public channel {
 public:
  explicit plain_channel(native_socket s) : socket_(s) {}
  long read(char* data, std::size_t size) override {
    while (true) {
      auto const n = ::recv(socket_, data, static_cast<int>(size), 0);
      if (n >= 0 || errno != EINTR)
        return static_cast<long>(n);
    }
  }
  long write(char const* data, std::size_t size) override {
    while (true) {
      auto const n = ::send(socket_, data, static_cast<int>(size), send_flags);
      if (n >= 0 || errno != EINTR)
        return static_cast<long>(n);
    }
  }

 private:
  native_socket socket_;
};

}  // namespace hf::conformance

#endif
