#ifndef HF_SANDBOX_TESTS_SUPPORT_FAULTY_PROXY_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAULTY_PROXY_HPP

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

namespace hf::testing_support {

/// What happens to one connection through a `faulty_proxy`.
struct connection_fault {
  enum class kind {
    none,
    /// Both sides are closed.
    cut,
    /// Both sides are reset.
    reset,
    /// Nothing moves any more, but nothing is closed either.
    stall,
    /// The connection is closed before a byte has moved.
    refuse,
    /// All that the client sends arrives a second time, on a connection whose answers are dropped;
    /// at last both sides are closed.
    duplicate,
  };
  kind what = kind::none;
  /// Whether `after` counts what the client sent, or what the server sent.
  bool count_client = false;
  /// The fault strikes when this many bytes have been passed on.
  std::uint64_t after = 0;
};

/// A proxy to a unix socket whose connections break as a test wants.
class faulty_proxy {
 public:
  using plan = std::function<connection_fault(int connection)>;

  /// Listens on the unix socket `path`, or when that is empty on a free loopback port. `choose` is
  /// called from the proxy's threads, once per connection.
  faulty_proxy(std::string path, std::string target, plan choose)
      : path_(std::move(path)), target_(std::move(target)), choose_(std::move(choose)) {
    if (path_.empty())
      listen_on_loopback();
    else
      listen_on_path();
    acceptor_ = std::thread([this] { accept_all(); });
  }
  faulty_proxy(faulty_proxy const&) = delete;
  faulty_proxy& operator=(faulty_proxy const&) = delete;

  ~faulty_proxy() {
    ending_ = true;
    acceptor_.join();
    while (live_ > 0)
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    ::close(listener_);
    if (!path_.empty())
      ::unlink(path_.c_str());
  }

  [[nodiscard]] std::string const& path() const { return path_; }
  /// The loopback port; 0 on a unix socket.
  [[nodiscard]] int port() const { return port_; }
  /// Connections accepted so far.
  [[nodiscard]] int accepted() const { return accepted_; }
  /// Faults that struck so far.
  [[nodiscard]] int struck() const { return struck_; }

 private:
  /// One relayed connection's descriptors; the twin is -1 unless all is sent twice.
  struct connection {
    int client = -1;
    int server = -1;
    int twin = -1;
  };

  static sockaddr_un make_address(std::string const& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
      throw std::runtime_error("faulty_proxy: path too long");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
  }

  void listen_on_path() {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::unlink(path_.c_str());
    auto const address = make_address(path_);
    if (listener_ < 0 ||
        ::bind(listener_, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 128) != 0)
      throw std::runtime_error("faulty_proxy cannot listen on " + path_);
  }

  void listen_on_loopback() {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    if (listener_ < 0 ||
        ::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 128) != 0 ||
        ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
      throw std::runtime_error("faulty_proxy has no loopback port to listen on");
    port_ = ntohs(address.sin_port);
  }

  void accept_all() {
    while (!ending_) {
      pollfd ready{listener_, POLLIN, 0};
      if (::poll(&ready, 1, 50) <= 0)
        continue;
      int const client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0)
        continue;
      int const index = accepted_++;
      ++live_;
      // Detached: thousands of finished threads would keep their stacks until a join.
      std::thread([this, client, index] {
        serve(client, index);
        --live_;
      }).detach();
    }
  }

  [[nodiscard]] int connect_to_target() const {
    int const server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto const address = make_address(target_);
    if (::connect(server, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0)
      return server;
    ::close(server);
    return -1;
  }

  void serve(int client, int index) {
    connection_fault const fault = choose_(index);
    connection ends{client};
    if (fault.what == connection_fault::kind::refuse) {
      ++struck_;
    } else if ((ends.server = connect_to_target()) >= 0) {
      if (fault.what == connection_fault::kind::duplicate) {
        ++struck_;
        ends.twin = connect_to_target();
      }
      relay(ends, fault);
    }
    for (int const fd : {ends.client, ends.server, ends.twin})
      if (fd >= 0)
        ::close(fd);
  }

  void relay(connection& ends, connection_fault const& fault) {
    using kind = connection_fault::kind;
    std::uint64_t moved[2] = {0, 0};
    bool open[2] = {true, true};
    int const sides[2] = {ends.client, ends.server};
    bool stalled = false;
    while (!ending_ && (open[0] || open[1])) {
      pollfd ready[3];
      for (int i = 0; i < 2; ++i)
        ready[i] = {sides[i], static_cast<short>(stalled ? POLLRDHUP : open[i] ? POLLIN : 0), 0};
      // A negative descriptor is passed over.
      ready[2] = {ends.twin, POLLIN, 0};
      if (::poll(ready, 3, 50) < 0)
        return;
      if (stalled) {
        if ((ready[0].revents & (POLLHUP | POLLRDHUP | POLLERR)) != 0)
          return;
        continue;
      }
      if (ready[2].revents != 0)
        drop_answers(ends);
      for (int i = 0; i < 2; ++i) {
        if (!open[i] || (ready[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
          continue;
        char buffer[16384];
        std::size_t want = sizeof buffer;
        bool const counted = fault.what != kind::none && fault.count_client == (i == 0);
        if (counted)
          want =
              static_cast<std::size_t>((std::min)(std::uint64_t{want}, fault.after + 1 - moved[i]));
        auto const got = ::recv(sides[i], buffer, want, 0);
        if (got <= 0) {
          open[i] = false;
          ::shutdown(sides[1 - i], SHUT_WR);
          if (i == 0 && ends.twin >= 0)
            ::shutdown(ends.twin, SHUT_WR);
          continue;
        }
        auto pass = static_cast<std::size_t>(got);
        bool const strike = counted && moved[i] + pass > fault.after;
        if (strike)
          pass = static_cast<std::size_t>(fault.after - moved[i]);
        if (i == 0)
          send_twin(ends, buffer, pass);
        if (!send_all(sides[1 - i], buffer, pass))
          return;
        moved[i] += pass;
        if (!strike)
          continue;
        ++struck_;
        if (fault.what == kind::reset)
          for (int const side : sides)
            reset_on_close(side);
        if (fault.what != kind::stall)
          return;
        stalled = true;
      }
    }
  }

  static void reset_on_close(int fd) {
    linger const now{1, 0};
    ::setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
  }

  static void drop_answers(connection& ends) {
    char buffer[16384];
    if (::recv(ends.twin, buffer, sizeof buffer, MSG_DONTWAIT) == 0)
      ::close(std::exchange(ends.twin, -1));
  }

  /// A twin that does not take everything at once is given up: it must not hold up the other one.
  static void send_twin(connection& ends, char const* data, std::size_t size) {
    if (ends.twin < 0)
      return;
    auto const sent = ::send(ends.twin, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(size))
      ::close(std::exchange(ends.twin, -1));
  }

  static bool send_all(int to, char const* data, std::size_t size) {
    while (size > 0) {
      auto const sent = ::send(to, data, size, MSG_NOSIGNAL);
      if (sent <= 0)
        return false;
      data += sent;
      size -= static_cast<std::size_t>(sent);
    }
    return true;
  }

  std::string path_;
  std::string target_;
  plan choose_;
  int listener_ = -1;
  int port_ = 0;
  std::atomic<bool> ending_{false};
  std::atomic<int> accepted_{0};
  std::atomic<int> struck_{0};
  std::atomic<int> live_{0};
  std::thread acceptor_;
};

}  // namespace hf::testing_support

#endif
