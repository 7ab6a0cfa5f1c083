#ifndef HF_SANDBOX_AGENT_HTTP_EXCHANGE_HPP
#define HF_SANDBOX_AGENT_HTTP_EXCHANGE_HPP

#include "detail/unique_fd.hpp"

#include <hf/sandbox/wire/json.hpp>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/system/system_error.hpp>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::agent {

namespace asio = boost::asio;
using wire::json;

/// A request's head after parsing, authorisation not yet included.
struct request_head {
  std::string method;
  /// The target as it was sent.
  std::string target;
  /// The path's segments: split at '/', empty ones at both ends dropped, not percent-decoded.
  std::vector<std::string> path;
  /// The raw query behind '?', without it.
  std::string raw_query;
  /// The query, percent- and plus-decoded bytes; of repeated keys the last one.
  std::map<std::string, std::string> query;
  /// Fields in order, names in lower case; repeats kept where the protocol allows them.
  std::vector<std::pair<std::string, std::string>> fields;
  bool keep_alive = true;
  /// HTTP minor version: 0 or 1.
  int minor_version = 1;

  /// The first field of that lower-case name, or an empty view.
  [[nodiscard]] std::string_view field(std::string_view lower_case_name) const {
    for (auto const& f : fields)
      if (f.first == lower_case_name)
        return f.second;
    return {};
  }
};

/// Thrown by a handler before it has begun its answer: becomes `{"error","code",...extra}`.
///
/// Has a constructor because g++ 12 destroys temporaries of aggregates twice when they stand in a
/// `co_await` expression; for the same reason brace lists (also of json) must not stand in one.
struct http_error {
  http_error(int with_status, std::string with_code, std::string text, json more = json::object())
      : status(with_status),
        code(std::move(with_code)),
        message(std::move(text)),
        extra(std::move(more)) {}

  int status;
  /// The `errc` name for `"code"`; empty: none.
  std::string code;
  std::string message;
  /// Further members of the JSON object ("stage", "errno", "first_seq", ...).
  json extra;
};

/// Thrown by `receive_into_file` and `send_file` when the file, not the connection, is at fault.
struct file_error : boost::system::system_error {
  using boost::system::system_error::system_error;
};

/// Status line and fields of an answer that is passed on as another server gave it.
struct raw_answer {
  int status = 200;
  std::string reason;
  /// Without Connection, Content-Length, Transfer-Encoding and other hop-by-hop fields.
  std::vector<std::pair<std::string, std::string>> fields;
  /// Nothing: chunked, or until the close for HTTP/1.0.
  std::optional<std::uint64_t> content_length;
  /// The status or the method forbids a body; `content_length` is then only told.
  bool no_body = false;
};

/// One request and its answer, on the event loop's only thread.
///
/// All functions throw `boost::system::system_error` when the connection is lost or a deadline runs
/// out; handlers need not catch it. A handler that returns without having answered is a defect:
/// 500.
class exchange {
 public:
  virtual ~exchange() = default;

  [[nodiscard]] virtual request_head const& head() const = 0;
  [[nodiscard]] virtual asio::any_io_executor executor() = 0;

  /// The body's length as announced; nothing when chunked.
  [[nodiscard]] virtual std::optional<std::uint64_t> content_length() const = 0;
  /// Reads some bytes of the body; 0 at its end. Answers `100 Continue` first when it was asked
  /// for.
  virtual asio::awaitable<std::size_t> read_some(asio::mutable_buffer buffer) = 0;
  /// Reads the whole body; `http_error` 413 above `limit` bytes.
  virtual asio::awaitable<std::string> read_all(std::uint64_t limit) = 0;
  /// Writes the whole body into a file at `offset` without copying where the kernel can (splice);
  /// returns the bytes written. What the file refuses is thrown as `file_error`; the rest of the
  /// body is then still unread.
  virtual asio::awaitable<std::uint64_t> receive_into_file(int fd, std::uint64_t offset) = 0;

  /// Sends a JSON answer.
  virtual asio::awaitable<void> respond(int status, json const& value) = 0;
  /// Begins an answer with a body of known length (then `write`/`send_file` exactly that much), or
  /// of unknown length (chunked; end with `finish`). `extra` are further header fields.
  virtual asio::awaitable<void> begin(
      int status, std::string_view content_type, std::optional<std::uint64_t> content_length,
      std::vector<std::pair<std::string, std::string>> extra = {}) = 0;
  /// Begins an answer with another server's head.
  virtual asio::awaitable<void> begin_raw(raw_answer answer) = 0;
  /// Sends bytes of the body, one chunk when chunked; returns when they are in the kernel.
  virtual asio::awaitable<void> write(std::string_view bytes) = 0;
  /// Sends a part of a file (sendfile); a file that shrinks meanwhile drops the connection. The
  /// file is closed before the last bytes leave: who has the answer may unmount what was read.
  virtual asio::awaitable<void> send_file(unique_fd file, std::uint64_t offset,
                                          std::uint64_t length) = 0;
  /// Ends the answer.
  virtual asio::awaitable<void> finish() = 0;
  /// Whether an answer has begun.
  [[nodiscard]] virtual bool begun() const = 0;

  /// Calls `callback` once, on the loop, when the caller has closed its side or the connection
  /// broke while the handler runs. Until 64 KiB of pipelined bytes are there, these are kept for
  /// the next request. An empty function removes the callback; it is removed anyway when the
  /// handler ends.
  virtual void on_caller_gone(std::function<void()> callback) = 0;

  /// The connection's non-blocking descriptor, no longer watched by the session, and the bytes
  /// already read behind the head, for tunnels. The caller owns and closes it.
  virtual int take_over(std::string& already_read) = 0;
};

/// Handles one request; what it throws becomes an error answer (or a dropped connection once
/// begun).
using handler = std::function<asio::awaitable<void>(exchange&)>;

}  // namespace hf::agent

#endif
