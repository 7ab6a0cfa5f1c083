#ifndef HF_SANDBOX_TESTS_SUPPORT_TCP_SERVER_HPP
#define HF_SANDBOX_TESTS_SUPPORT_TCP_SERVER_HPP

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace hf::testing_support {

/// The server's side of one connection of a `tcp_server`.
class tcp_peer {
 public:
  explicit tcp_peer(int fd) : fd_(fd) {}

  [[nodiscard]] int fd() const { return fd_; }
  /// False when the other side is gone.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0)
        return false;
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// Some bytes; empty at the other side's end.
  std::string receive() {
    if (!ahead_.empty())
      return std::exchange(ahead_, std::string());
    char piece[65536];
    ssize_t const n = ::recv(fd_, piece, sizeof piece, 0);
    return n > 0 ? std::string(piece, static_cast<std::size_t>(n)) : std::string();
  }
  /// Everything up to and with `mark`; what comes behind it stays. Empty when the other side ends.
  std::string receive_until(std::string_view mark) {
    std::string all;
    for (;;) {
      auto const at = all.find(mark);
      if (at != std::string::npos) {
        ahead_ = all.substr(at + mark.size());
        return all.substr(0, at + mark.size());
      }
      std::string const piece = receive();
      if (piece.empty())
        return {};
      all += piece;
    }
  }
  /// Exactly that much, or less when the other side ends.
  std::string receive_exactly(std::size_t size) {
    std::string all;
    while (all.size() < size) {
      std::string const piece = receive();
      if (piece.empty())
        break;
      all += piece;
    }
    if (all.size() > size) {
      ahead_ = all.substr(size);
      all.resize(size);
    }
    return all;
  }

 private:
  int fd_;
  std::string ahead_;
};

/// A server on a free loopback port; `serve` runs on a thread for each connection, which is closed
/// when it returns. Receives give up after 30 s.
class tcp_server {
 public:
  explicit tcp_server(std::function<void(tcp_peer&)> serve) : serve_(std::move(serve)) {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_ < 0 ||
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 64) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("no loopback port to listen on");
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept_all(); });
  }
  tcp_server(tcp_server const&) = delete;
  tcp_server& operator=(tcp_server const&) = delete;
  ~tcp_server() {
    stopping_ = true;
    ::shutdown(listener_, SHUT_RDWR);
    {
      std::lock_guard<std::mutex> const lock(mutex_);
      for (int const fd : open_)
        ::shutdown(fd, SHUT_RDWR);
    }
    acceptor_.join();
    for (auto& thread : threads_)
      thread.join();
    ::close(listener_);
  }

  [[nodiscard]] int port() const { return port_; }
  /// Connections so far.
  [[nodiscard]] int accepted() const { return accepted_; }

 private:
  void accept_all() {
    while (!stopping_) {
      int const fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0)
        continue;
      ++accepted_;
      timeval const patience{30, 0};
      ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
      std::lock_guard<std::mutex> const lock(mutex_);
      open_.insert(fd);
      if (stopping_)
        ::shutdown(fd, SHUT_RDWR);
      threads_.emplace_back([this, fd] {
        tcp_peer peer(fd);
        serve_(peer);
        std::lock_guard<std::mutex> const closing(mutex_);
        open_.erase(fd);
        ::close(fd);
      });
    }
  }

  std::function<void(tcp_peer&)> serve_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<int> accepted_{0};
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;
  std::set<int> open_;
  std::vector<std::thread> threads_;
  std::thread acceptor_;
};

}  // namespace hf::testing_support

#endif
