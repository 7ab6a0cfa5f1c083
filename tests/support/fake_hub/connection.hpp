#ifndef HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_CONNECTION_HPP
#define HF_SANDBOX_TESTS_SUPPORT_FAKE_HUB_CONNECTION_HPP

#include <hf/sandbox/http/headers.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::testing_support::fake {

/// A blocking socket with a read buffer; owned.
class connection {
 public:
  explicit connection(int fd) : fd_(fd) {}
  ~connection() { close(); }
  connection(connection const&) = delete;
  connection& operator=(connection const&) = delete;

  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool open() const noexcept { return fd_ >= 0; }
  void close();
  /// Closes with a reset.
  void reset();

  /// Reads up to an empty line (kept out of the result); nothing at the end of the stream.
  std::optional<std::string> read_head();
  /// Reads what is there, at most `size` bytes; 0 at the end.
  std::size_t read_some(char* to, std::size_t size);
  /// Reads exactly that many bytes; false at an early end.
  bool read_exactly(std::string& to, std::size_t size);
  bool write(std::string_view data);
  /// Bytes that were read but not yet asked for.
  [[nodiscard]] std::size_t buffered() const noexcept { return buffer_.size(); }
  /// Whether the peer has gone (without reading anything).
  [[nodiscard]] bool peer_gone() const;

 private:
  int fd_;
  std::string buffer_;
};

/// A message's first line and fields.
struct head {
  std::string first;
  http::headers fields;
};

/// Splits a head; nothing when it is malformed.
std::optional<head> parse_head(std::string const& text);

struct request {
  std::string method;
  std::string target;
  std::string path;
  std::vector<std::pair<std::string, std::string>> query;
  http::headers fields;
  std::string host;
  std::string body;
};

/// The request of a head, without its body.
std::optional<request> parse_request(head const& from);

/// Content-Length; nothing when absent or malformed.
std::optional<std::uint64_t> content_length(http::headers const& fields);

/// Finds the end of a chunked body.
class chunk_tracker {
 public:
  /// Bytes of `data` that belong to the body; `done()` tells when its end was among them.
  std::size_t feed(std::string_view data);
  [[nodiscard]] bool done() const noexcept { return state_ == state::done; }

 private:
  enum class state { size, data, data_end, trailer, done };
  state state_ = state::size;
  std::string line_;
  std::uint64_t left_ = 0;
};

std::string_view reason_of(int status);

}  // namespace hf::testing_support::fake

#endif
