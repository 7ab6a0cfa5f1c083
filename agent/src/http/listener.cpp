#include "http/listener.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace hf::agent {
namespace {

constexpr int backlog = 4096;

[[noreturn]] void fail_to_listen(std::string const& what) {
  int const error = errno;
  throw std::runtime_error(what + ": " + std::strerror(error));
}

unique_fd open_socket(int family) {
  unique_fd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket)
    fail_to_listen("cannot make a socket");
  return socket;
}

bool is_abandoned(std::string const& path, sockaddr_un const& address) {
  struct stat entry {};
  if (::lstat(path.c_str(), &entry) != 0 || !S_ISSOCK(entry.st_mode))
    return false;
  unique_fd const probe = open_socket(AF_UNIX);
  return ::connect(probe.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 &&
         errno == ECONNREFUSED;
}

}  // namespace

unique_fd listen_on_port(std::uint16_t port) {
  unique_fd socket = open_socket(AF_INET);
  int const on = 1;
  ::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_ANY);
  if (::bind(socket.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
      ::listen(socket.get(), backlog) != 0)
    fail_to_listen("cannot listen on 0.0.0.0:" + std::to_string(port));
  return socket;
}

unique_fd listen_on_path(std::string const& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path)
    throw std::runtime_error("SBX_SOCKET: a unix socket's path has at most 107 bytes");
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  unique_fd socket = open_socket(AF_UNIX);
  auto const bind = [&] {
    return ::bind(socket.get(), reinterpret_cast<sockaddr const*>(&address), sizeof address);
  };
  int bound = bind();
  if (bound != 0 && errno == EADDRINUSE && is_abandoned(path, address)) {
    ::unlink(path.c_str());
    bound = bind();
  }
  if (bound != 0)
    fail_to_listen("cannot bind the unix socket " + path);
  if (::chmod(path.c_str(), 0666) != 0 || ::listen(socket.get(), backlog) != 0)
    fail_to_listen("cannot listen on the unix socket " + path);
  return socket;
}

unique_fd adopt_listener(int fd) {
  int const flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
      ::fcntl(fd, F_SETFD, FD_CLOEXEC) != 0)
    fail_to_listen("--listen-fd=" + std::to_string(fd));
  return unique_fd(fd);
}

std::string describe_listener(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length) != 0)
    return "?";
  if (storage.ss_family == AF_INET) {
    sockaddr_in address{};
    std::memcpy(&address, &storage, sizeof address);
    char text[INET_ADDRSTRLEN] = "?";
    ::inet_ntop(AF_INET, &address.sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(address.sin_port));
  }
  if (storage.ss_family == AF_UNIX) {
    sockaddr_un address{};
    std::memcpy(&address, &storage, sizeof address);
    return std::string("unix:") + address.sun_path;
  }
  return "?";
}

}  // namespace hf::agent
