#ifndef HF_SANDBOX_TESTING_CONFORMANCE_RAW_SERVER_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_RAW_SERVER_HPP

#include "socket.hpp"

#include <hf/sandbox/http/headers.hpp>

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

namespace hf::conformance {

/// A request as it came over the wire.
struct raw_request {
  std::string method = {};
  std::string target = {};
  std::string version = {};
  http::headers fields = {};
  std::string body = {};

  [[nodiscard]] std::size_t content_length() const {
    return static_cast<std::size_t>(
        std::strtoull(std::string(fields.get("Content-Length")).c_str(), nullptr, 10));
  }
};

/// The server's end of one connection, in the hands of a test.
class raw_connection {
 public:
  raw_connection(native_socket s, std::unique_ptr<channel> stream, int index)
      : socket_(s), stream_(std::move(stream)), index_(index) {}

  /// Number of the connection at its server, from 0.
  [[nodiscard]] int index() const noexcept { return index_; }
  [[nodiscard]] bool usable() const noexcept { return stream_ != nullptr; }

  /// The next request's head; nothing when the client has closed.
  [[nodiscard]] std::optional<raw_request> read_head() {
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!fill())
        return std::nullopt;
    auto head = std::string_view(buffer_).substr(0, end);
    raw_request out;
    auto line = take_line(head);
    auto const first = line.find(' ');
    auto const last = line.rfind(' ');
    out.method = std::string(line.substr(0, first));
    if (first != std::string_view::npos && last > first) {
      out.target = std::string(line.substr(first + 1, last - first - 1));
      out.version = std::string(line.substr(last + 1));
    }
    while (!head.empty()) {
      line = take_line(head);
      auto const colon = line.find(':');
      auto value = line.substr((std::min)(line.size(), colon + 1));
      while (!value.empty() && value.front() == ' ')
        value.remove_prefix(1);
      out.fields.add(std::string(line.substr(0, colon)), std::string(value));
    }
    buffer_.erase(0, end + 4);
    return out;
  }

  /// The next request with its body; nothing when the client has closed.
  [[nodiscard]] std::optional<raw_request> read_request() {
    auto out = read_head();
    if (!out)
      return out;
    auto const size = out->content_length();
    while (buffer_.size() < size)
      if (!fill())
        return std::nullopt;
    out->body = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return out;
  }

  /// Some more bytes; empty when the client has closed.
  [[nodiscard]] std::string read_some() {
    if (buffer_.empty() && !fill())
      return {};
    return std::exchange(buffer_, {});
  }

  /// Reads and drops `size` bytes; returns how many came.
  std::uint64_t discard(std::uint64_t size) {
    std::uint64_t got = 0;
    while (got < size) {
      if (buffer_.empty() && !fill())
        break;
      auto const part = (std::min<std::uint64_t>)(size - got, buffer_.size());
      got += part;
      buffer_.erase(0, static_cast<std::size_t>(part));
    }
    return got;
  }

  /// Reads until the client closes.
  void wait_closed() {
    buffer_.clear();
    while (fill())
      buffer_.clear();
  }

  /// Copies bytes to and from another socket until one side ends; closes that socket.
  void relay(native_socket other) {
    plain_channel there(other);
    std::thread back([&] {
      std::string block(65536, '\0');
      for (long n = 0; (n = there.read(block.data(), block.size())) > 0;)
        if (!write(std::string_view(block).substr(0, static_cast<std::size_t>(n))))
          break;
      ::shutdown(socket_, both_ways);
    });
    for (auto some = read_some(); !some.empty(); some = read_some()) {
      std::string_view left = some;
      for (long n = 1; !left.empty() && n > 0; left.remove_prefix(static_cast<std::size_t>(n)))
        if ((n = there.write(left.data(), left.size())) <= 0)
          break;
    }
    ::shutdown(other, both_ways);
    back.join();
    close_native(other);
  }

  /// Whether everything was written.
  bool write(std::string_view text) {
    while (!text.empty()) {
      auto const n = stream_->write(text.data(), text.size());
      if (n <= 0)
        return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }

  /// Ends the sending side; the client sees the end of the stream.
  void finish() { ::shutdown(socket_, sending_way); }

  /// Says the stream's end where the stream has words for it (TLS).
  void close_notify() { stream_->close_notify(); }

  /// Makes the close at the handler's end a reset.
  void reset() {
    linger const now{1, 0};
    ::setsockopt(socket_, SOL_SOCKET, SO_LINGER, reinterpret_cast<char const*>(&now), sizeof now);
  }

 private:
  static std::string_view take_line(std::string_view& text) {
    auto const end = text.find("\r\n");
    auto const line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 2);
    return line;
  }

  bool fill() {
    constexpr std::size_t step = 256 * 1024;
    auto const had = buffer_.size();
    buffer_.resize(had + step);
    auto const n = stream_->read(buffer_.data() + had, step);
    buffer_.resize(had + static_cast<std::size_t>((std::max)(n, 0L)));
    return n > 0;
  }

  native_socket socket_;
  std::unique_ptr<channel> stream_;
  std::string buffer_;
  int index_;
};

/// A server that does exactly what a test says, also what no server should do. The handler runs on
/// a thread of its own for each connection, which is closed when it returns.
class raw_server {
 public:
  using handler = std::function<void(raw_connection&)>;
  /// Turns an accepted socket into a stream; null when that fails (a refused TLS handshake).
  using wrapper = std::function<std::unique_ptr<channel>(native_socket)>;

  /// Listens on 127.0.0.1.
  explicit raw_server(handler serve, wrapper wrap = {})
      : serve_(std::move(serve)), wrap_(std::move(wrap)), listener_(listen_tcp(128, port_)) {
    thread_ = std::thread([this] { run(); });
  }
#if !defined(_WIN32)
  struct unix_path {
    std::string path;
  };
  /// Listens on a unix socket.
  raw_server(unix_path at, handler serve)
      : serve_(std::move(serve)), path_(std::move(at.path)), listener_(listen_unix(path_)) {
    thread_ = std::thread([this] { run(); });
  }
#endif
  raw_server(raw_server const&) = delete;
  raw_server& operator=(raw_server const&) = delete;

  ~raw_server() {
    stopping_ = true;
    wake();
    thread_.join();
    close_native(listener_);
    {
      std::lock_guard const lock(mutex_);
      for (auto& c : connections_)
        if (c.socket != no_socket)
          ::shutdown(c.socket, both_ways);
    }
    for (auto& c : connections_)
      c.thread.join();
#if !defined(_WIN32)
    if (!path_.empty())
      ::unlink(path_.c_str());
#endif
  }

  [[nodiscard]] std::uint16_t port() const noexcept {
    return port_;
  }
  [[nodiscard]] std::string url(std::string const& target = "/") const {
    return "http://127.0.0.1:" + std::to_string(port_) + target;
  }
  /// Connections accepted so far.
  [[nodiscard]] int connections() const noexcept {
    return accepted_;
  }

 private:
  struct entry {
    native_socket socket = no_socket;
    std::thread thread = {};
  };

  void wake() {
#if !defined(_WIN32)
    auto const s = path_.empty() ? connect_tcp(port_) : connect_unix(path_);
#else
    auto const s = connect_tcp(port_);
#endif
    if (s != no_socket)
      close_native(s);
  }

  void run() {
    while (true) {
      auto const s = ::accept(listener_, nullptr, nullptr);
      if (stopping_) {
        if (s != no_socket)
          close_native(s);
        return;
      }
      if (s == no_socket)
        continue;
      int const on = 1;
      ::setsockopt(s, IPPROTO_TCP, TCP_NODELAY, reinterpret_cast<char const*>(&on), sizeof on);
      int const index = accepted_++;
      std::lock_guard const lock(mutex_);
      connections_.emplace_back();
      auto& slot = connections_.back();
      slot.socket = s;
      slot.thread = std::thread([this, &slot, s, index] { serve(slot, s, index); });
    }
  }

  void serve(entry& slot, native_socket s, int index) {
    {
      raw_connection connection(
          s, wrap_ ? wrap_(s) : std::unique_ptr<channel>(std::make_unique<plain_channel>(s)),
          index);
      if (connection.usable())
        serve_(connection);
    }
    std::lock_guard const lock(mutex_);
    slot.socket = no_socket;
    close_native(s);
  }

  handler serve_;
  wrapper wrap_;
  std::string path_;
  std::uint16_t port_ = 0;
  native_socket listener_;
  std::atomic<bool> stopping_{false};
  std::atomic<int> accepted_{0};
  std::mutex mutex_;
  std::list<entry> connections_;
  std::thread thread_;
};

/// A well-behaved answer with a length.
inline std::string ok(std::string_view body, std::string_view more_fields = "") {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" +
         std::string(more_fields) + "\r\n" + std::string(body);
}

/// A handler that answers request after request with what `answer` makes of each.
template <class Answer>
raw_server::handler answering(Answer answer) {
  return [answer](raw_connection& c) {
    while (auto const request = c.read_request())
      if (!c.write(answer(*request)))
        return;
  };
}

}  // namespace hf::conformance

#endif
