#ifndef HF_SANDBOX_TESTS_SUPPORT_FAULTY_PROXY_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAULTY_PROXY_HPP

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
    /// Both sides are dropped.
    cut,
    /// Nothing moves any more, but nothing is closed either.
    stall,
    /// The connection is closed before a byte has moved.
    refuse,
  };
  kind what = kind::none;
  /// Whether `after` counts what the client sent, or what the server sent.
  bool count_client = false;
  /// The fault strikes when this many bytes have been passed on.
  std::uint64_t after = 0;
};

/// A proxy between two unix sockets whose connections break as a test wants.
class faulty_proxy {
 public:
  using plan = std::function<connection_fault(int connection)>;

  /// `choose` is called from the proxy's threads, once per connection.
  faulty_proxy(std::string path, std::string target, plan choose)
      : path_(std::move(path)), target_(std::move(target)), choose_(std::move(choose)) {
    listener_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ::unlink(path_.c_str());
    auto const address = make_address(path_);
    if (listener_ < 0 ||
        ::bind(listener_, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 128) != 0)
      throw std::runtime_error("faulty_proxy cannot listen on " + path_);
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
    ::unlink(path_.c_str());
  }

  [[nodiscard]] std::string const& path() const { return path_; }
  /// Connections accepted so far.
  [[nodiscard]] int accepted() const { return accepted_; }
  /// Faults that struck so far.
  [[nodiscard]] int struck() const { return struck_; }

 private:
  static sockaddr_un make_address(std::string const& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
      throw std::runtime_error("faulty_proxy: path too long");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return address;
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

  void serve(int client, int index) {
    connection_fault const fault = choose_(index);
    if (fault.what == connection_fault::kind::refuse) {
      ++struck_;
      ::close(client);
      return;
    }
    int const server = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    auto const address = make_address(target_);
    if (::connect(server, reinterpret_cast<sockaddr const*>(&address), sizeof address) == 0)
      relay(client, server, fault);
    ::close(client);
    ::close(server);
  }

  void relay(int client, int server, connection_fault const& fault) {
    std::uint64_t moved[2] = {0, 0};
    bool open[2] = {true, true};
    int const ends[2] = {client, server};
    bool stalled = false;
    while (!ending_ && (open[0] || open[1])) {
      pollfd ready[2];
      for (int i = 0; i < 2; ++i)
        ready[i] = {ends[i], static_cast<short>(open[i] && !stalled ? POLLIN : 0), 0};
      if (::poll(ready, 2, 50) < 0)
        return;
      if (stalled) {
        if ((ready[0].revents & (POLLHUP | POLLERR)) != 0)
          return;
        continue;
      }
      for (int i = 0; i < 2; ++i) {
        if (!open[i] || (ready[i].revents & (POLLIN | POLLHUP | POLLERR)) == 0)
          continue;
        char buffer[16384];
        std::size_t want = sizeof buffer;
        bool const counted =
            fault.what != connection_fault::kind::none && fault.count_client == (i == 0);
        if (counted)
          want =
              static_cast<std::size_t>((std::min)(std::uint64_t{want}, fault.after + 1 - moved[i]));
        auto const got = ::recv(ends[i], buffer, want, 0);
        if (got <= 0) {
          open[i] = false;
          ::shutdown(ends[1 - i], SHUT_WR);
          continue;
        }
        auto pass = static_cast<std::size_t>(got);
        bool const strike = counted && moved[i] + pass > fault.after;
        if (strike)
          pass = static_cast<std::size_t>(fault.after - moved[i]);
        if (!send_all(ends[1 - i], buffer, pass))
          return;
        moved[i] += pass;
        if (!strike)
          continue;
        ++struck_;
        if (fault.what == connection_fault::kind::cut)
          return;
        stalled = true;
      }
    }
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
  std::atomic<bool> ending_{false};
  std::atomic<int> accepted_{0};
  std::atomic<int> struck_{0};
  std::atomic<int> live_{0};
  std::thread acceptor_;
};

}  // namespace hf::testing_support

#endif
