#ifndef HF_SANDBOX_TESTS_SUPPORT_RAW_HTTP_HPP
#define HF_SANDBOX_TESTS_SUPPORT_RAW_HTTP_HPP

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <nlohmann/json.hpp>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::testing_support {

using header_list = std::vector<std::pair<std::string, std::string>>;

/// An answer as it came from the socket; the body is de-chunked.
struct http_answer {
  int status = 0;
  std::string reason = {};
  /// In order, names in lower case.
  header_list fields = {};
  std::string body = {};

  /// The first field of that lower-case name; empty when absent.
  [[nodiscard]] std::string header(std::string_view name) const {
    for (auto const& f : fields)
      if (f.first == name)
        return f.second;
    return {};
  }
  [[nodiscard]] std::size_t count(std::string_view name) const {
    std::size_t n = 0;
    for (auto const& f : fields)
      n += f.first == name ? 1 : 0;
    return n;
  }
  [[nodiscard]] nlohmann::json json() const { return nlohmann::json::parse(body); }
};

/// A bare socket with just enough HTTP to look at every byte; throws `std::runtime_error` when the
/// peer closes early or nothing arrives for `patience`.
class raw_http {
 public:
  static raw_http unix_socket(std::string const& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path)
      throw std::runtime_error("socket path too long");
    std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
    return raw_http(AF_UNIX, reinterpret_cast<sockaddr const*>(&address), sizeof address);
  }
  static raw_http tcp(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<std::uint16_t>(port));
    return raw_http(AF_INET, reinterpret_cast<sockaddr const*>(&address), sizeof address);
  }

  raw_http(raw_http&& other) noexcept
      : patience(other.patience),
        fd_(std::exchange(other.fd_, -1)),
        buffer_(std::move(other.buffer_)),
        line_(std::move(other.line_)),
        framing_(other.framing_),
        remaining_(other.remaining_) {}
  raw_http& operator=(raw_http&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(buffer_, other.buffer_);
    std::swap(line_, other.line_);
    std::swap(framing_, other.framing_);
    std::swap(remaining_, other.remaining_);
    return *this;
  }
  ~raw_http() { close(); }

  /// How long a read waits.
  std::chrono::milliseconds patience = std::chrono::seconds(30);

  [[nodiscard]] int fd() const { return fd_; }
  void close() {
    if (fd_ >= 0)
      ::close(std::exchange(fd_, -1));
  }
  void shutdown_write() { ::shutdown(fd_, SHUT_WR); }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      ssize_t const n = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR)
        continue;
      if (n < 0)
        throw std::runtime_error(std::string("send: ") + std::strerror(errno));
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  /// Sends a request with Content-Length (left out for a GET, HEAD or DELETE without a body).
  void send_request(std::string_view method, std::string_view target, std::string_view token,
                    std::string_view body = {}, header_list fields = {}) {
    std::string text;
    text.append(method).append(" ").append(target).append(" HTTP/1.1\r\nHost: agent\r\n");
    if (!token.empty())
      text.append("X-Sandbox-Token: ").append(token).append("\r\n");
    if (!body.empty() || (method != "GET" && method != "HEAD" && method != "DELETE"))
      text.append("Content-Length: ").append(std::to_string(body.size())).append("\r\n");
    for (auto const& f : fields)
      text.append(f.first).append(": ").append(f.second).append("\r\n");
    text.append("\r\n").append(body);
    send(text);
  }

  /// Reads the head of the next answer; 1xx heads are returned like any other.
  http_answer read_head(bool to_head_request = false) {
    http_answer answer;
    std::string line = read_raw_line();
    if (line.size() < 12 || line.compare(0, 7, "HTTP/1.") != 0)
      throw std::runtime_error("not an HTTP answer: " + line);
    answer.status = std::atoi(line.c_str() + 9);
    if (line.size() > 13)
      answer.reason = line.substr(13);
    framing_ = framing::until_close;
    for (;;) {
      line = read_raw_line();
      if (line.empty())
        break;
      auto const colon = line.find(':');
      if (colon == std::string::npos)
        throw std::runtime_error("bad field: " + line);
      std::string name = line.substr(0, colon);
      for (char& c : name)
        if (c >= 'A' && c <= 'Z')
          c = static_cast<char>(c + 32);
      std::size_t begin = colon + 1;
      while (begin < line.size() && line[begin] == ' ')
        ++begin;
      answer.fields.emplace_back(std::move(name), line.substr(begin));
    }
    if (to_head_request || answer.status / 100 == 1 || answer.status == 204 ||
        answer.status == 304) {
      framing_ = framing::length;
      remaining_ = 0;
    } else if (answer.header("transfer-encoding") == "chunked") {
      framing_ = framing::chunked;
    } else if (answer.count("content-length") != 0) {
      framing_ = framing::length;
      remaining_ = std::strtoull(answer.header("content-length").c_str(), nullptr, 10);
    }
    return answer;
  }

  /// A piece of the body: one chunk when chunked; nothing at its end.
  std::optional<std::string> read_chunk() {
    if (framing_ == framing::chunked) {
      std::string const size_line = read_raw_line();
      std::size_t const size = std::strtoull(size_line.c_str(), nullptr, 16);
      std::string data = read_exactly(size);
      if (read_raw_line() != "")
        throw std::runtime_error("chunk without its end");
      if (size != 0)
        return data;
      framing_ = framing::length;
      remaining_ = 0;
      return std::nullopt;
    }
    if (framing_ == framing::length && remaining_ == 0)
      return std::nullopt;
    if (buffer_.empty() && !fill()) {
      if (framing_ == framing::until_close)
        return std::nullopt;
      throw std::runtime_error("the connection was lost within a body");
    }
    std::size_t n = buffer_.size();
    if (framing_ == framing::length && n > remaining_)
      n = static_cast<std::size_t>(remaining_);
    std::string data = buffer_.substr(0, n);
    buffer_.erase(0, n);
    if (framing_ == framing::length)
      remaining_ -= n;
    return data;
  }

  /// A line of the body without its newline (NDJSON); nothing at its end.
  std::optional<std::string> read_body_line() {
    for (;;) {
      auto const at = line_.find('\n');
      if (at != std::string::npos) {
        std::string line = line_.substr(0, at);
        line_.erase(0, at + 1);
        return line;
      }
      auto chunk = read_chunk();
      if (!chunk) {
        if (line_.empty())
          return std::nullopt;
        return std::exchange(line_, std::string());
      }
      line_ += *chunk;
    }
  }

  /// The next NDJSON event; nothing at the stream's end.
  std::optional<nlohmann::json> read_event() {
    auto const line = read_body_line();
    if (!line)
      return std::nullopt;
    return nlohmann::json::parse(*line);
  }

  /// Reads a whole answer, passing over 1xx heads.
  http_answer read_answer(bool to_head_request = false) {
    http_answer answer = read_head(to_head_request);
    while (answer.status / 100 == 1 && answer.status != 101)
      answer = read_head(to_head_request);
    while (auto piece = read_chunk())
      answer.body += *piece;
    return answer;
  }

  /// Whatever bytes are there next; empty when the peer has closed.
  std::string read_some() {
    if (buffer_.empty())
      fill();
    return std::exchange(buffer_, std::string());
  }
  std::string read_exactly(std::size_t size) {
    while (buffer_.size() < size)
      if (!fill())
        throw std::runtime_error("the connection was lost");
    std::string data = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return data;
  }
  /// Everything until the peer closes.
  std::string read_to_end() {
    while (fill()) {
    }
    return std::exchange(buffer_, std::string());
  }
  /// Whether the peer closes without sending a byte more (a reset counts as closed).
  bool is_closed_silently() {
    if (!buffer_.empty())
      return false;
    try {
      return !fill();
    } catch (std::runtime_error const&) {
      return false;
    }
  }

 private:
  enum class framing { length, chunked, until_close };

  raw_http(int family, sockaddr const* address, socklen_t length)
      : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (fd_ < 0)
      throw std::runtime_error("socket failed");
    if (::connect(fd_, address, length) != 0) {
      int const error = errno;
      close();
      throw std::runtime_error(std::string("connect: ") + std::strerror(error));
    }
    int const on = 1;
    if (family == AF_INET)
      ::setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }

  // False at the peer's end; a reset is an end too.
  bool fill() {
    pollfd waiting{fd_, POLLIN, 0};
    for (;;) {
      int const ready = ::poll(&waiting, 1, static_cast<int>(patience.count()));
      if (ready < 0 && errno == EINTR)
        continue;
      if (ready == 0)
        throw std::runtime_error("nothing arrived in time");
      break;
    }
    char piece[65536];
    for (;;) {
      ssize_t const n = ::recv(fd_, piece, sizeof piece, 0);
      if (n < 0 && errno == EINTR)
        continue;
      if (n <= 0)
        return false;
      buffer_.append(piece, static_cast<std::size_t>(n));
      return true;
    }
  }

  std::string read_raw_line() {
    for (;;) {
      auto const at = buffer_.find("\r\n");
      if (at != std::string::npos) {
        std::string line = buffer_.substr(0, at);
        buffer_.erase(0, at + 2);
        return line;
      }
      if (!fill())
        throw std::runtime_error("the connection was lost");
    }
  }

  int fd_;
  std::string buffer_;
  std::string line_;
  framing framing_ = framing::until_close;
  std::uint64_t remaining_ = 0;
};

}  // namespace hf::testing_support

#endif
