#include "detail/released_on.hpp"
#include "detail/run_blocking.hpp"
#include "http/field_text.hpp"
#include "http/server.hpp"
#include "http/session.hpp"
#include "http/status.hpp"
#include "http/transfer_turn.hpp"

#include <hf/sandbox/wire/routes.hpp>

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <limits>
#include <utility>

namespace hf::agent {
namespace {

iovec part_of(std::string_view bytes) {
  return {const_cast<char*>(bytes.data()), bytes.size()};
}

void append_status_line(std::string& text, int status, std::string_view reason) {
  text.append("HTTP/1.1 ").append(std::to_string(status)).append(" ").append(reason).append("\r\n");
}

struct sent_part {
  std::uint64_t bytes = 0;
  /// 0, EAGAIN, or what went wrong.
  int error = 0;
  bool file_ended = false;
};

// Sends until the socket stays full; runs on a thread where waiting for a disk hurts nobody.
sent_part send_until_full(int socket, int fd, std::uint64_t offset, std::uint64_t length) {
  sent_part sent;
  auto const turn_ends = std::chrono::steady_clock::now() + longest_turn;
  while (sent.bytes < length) {
    auto position = static_cast<off_t>(offset + sent.bytes);
    auto const wanted =
        static_cast<std::size_t>((std::min)(length - sent.bytes, std::uint64_t(1) << 22));
    ssize_t const n = ::sendfile(socket, fd, &position, wanted);
    if (n > 0) {
      sent.bytes += static_cast<std::uint64_t>(n);
      // Others wait for this thread, too.
      if (sent.bytes >= (std::uint64_t(1) << 24))
        break;
      continue;
    }
    if (n == 0) {
      sent.file_ended = true;
      break;
    }
    if (errno == EINTR)
      continue;
    sent.error = errno == EWOULDBLOCK ? EAGAIN : errno;
    pollfd room{socket, POLLOUT, 0};
    if (sent.error != EAGAIN || std::chrono::steady_clock::now() >= turn_ends ||
        ::poll(&room, 1, quick_peer_ms) != 1)
      break;
    sent.error = 0;
  }
  return sent;
}

}  // namespace

void session::start_answer() {
  begun_ = true;
  // What the caller will not be allowed to send is said before it is refused.
  bool const unread = !body_complete();
  bool const too_much =
      unread && !framing_.chunked && body_left_ > owner_.options().allowed.drain_bytes;
  keep_alive_ =
      head_.keep_alive && !owner_.stopping() && !too_much && !(unread && continue_wanted_);
  bodiless_ = head_.method == "HEAD";
}

void session::append_head_end(std::string& text) {
  if (authorised_)
    append_field(text, wire::instance_header, owner_.shared().instance);
  text.append("\r\n");
}

asio::awaitable<void> session::respond(int status, json const& value) {
  std::string const body = value.dump(-1, ' ', false, json::error_handler_t::replace);
  start_answer();
  std::string text;
  text.reserve(256 + body.size());
  append_status_line(text, status, reason_phrase(status));
  append_field(text, "Content-Type", "application/json");
  append_field(text, "Connection", keep_alive_ ? "keep-alive" : "close");
  append_field(text, "Content-Length", std::to_string(body.size()));
  append_head_end(text);
  if (!bodiless_)
    text.append(body);
  output_ = output::finished;
  iovec part = part_of(text);
  co_await stream_.write({&part, 1}, owner_.options().allowed.write);
}

asio::awaitable<void> session::begin(int status, std::string_view content_type,
                                     std::optional<std::uint64_t> content_length,
                                     std::vector<std::pair<std::string, std::string>> extra) {
  start_answer();
  if (!content_length && head_.minor_version == 0)
    keep_alive_ = false;
  std::string text;
  text.reserve(320);
  append_status_line(text, status, reason_phrase(status));
  append_field(text, "Content-Type", content_type);
  append_field(text, "Connection", keep_alive_ ? "keep-alive" : "close");
  if (content_length) {
    append_field(text, "Content-Length", std::to_string(*content_length));
    output_ = output::length;
    output_left_ = *content_length;
  } else if (head_.minor_version == 0) {
    output_ = output::until_close;
  } else {
    append_field(text, "Transfer-Encoding", "chunked");
    append_field(text, "X-Accel-Buffering", "no");
    output_ = output::chunked;
  }
  for (auto const& field : extra)
    append_field(text, field.first, field.second);
  append_head_end(text);
  pending_head_ = std::move(text);
  if (output_ == output::length && (output_left_ == 0 || bodiless_)) {
    co_await send_parts({});
    if (output_left_ == 0)
      output_ = output::finished;
  } else {
    flush_head_soon();
  }
}

asio::awaitable<void> session::begin_raw(raw_answer answer) {
  start_answer();
  bool const delimited = answer.no_body || answer.content_length.has_value();
  if (!delimited && head_.minor_version == 0)
    keep_alive_ = false;
  std::string text;
  append_status_line(text, answer.status, answer.reason);
  for (auto const& field : answer.fields)
    append_field(text, field.first, field.second);
  append_field(text, "Connection", keep_alive_ ? "keep-alive" : "close");
  if (answer.content_length)
    append_field(text, "Content-Length", std::to_string(*answer.content_length));
  else if (!answer.no_body && head_.minor_version == 1)
    append_field(text, "Transfer-Encoding", "chunked");
  if (answer.no_body) {
    output_ = output::finished;
    bodiless_ = true;
  } else if (answer.content_length) {
    output_ = output::length;
    output_left_ = *answer.content_length;
  } else {
    output_ = head_.minor_version == 1 ? output::chunked : output::until_close;
  }
  append_head_end(text);
  pending_head_ = std::move(text);
  if (answer.no_body || (output_ == output::length && output_left_ == 0))
    co_await send_parts({});
  else
    flush_head_soon();
}

// The head goes out with the first bytes of the body; but if these do not follow at once, alone.
void session::flush_head_soon() {
  asio::post(owner_.shared().loop, [self = shared_from_this()] { self->flush_head_now(); });
}

void session::flush_head_now() {
  if (pending_head_.empty() || !stream_.is_open())
    return;
  ssize_t const n =
      ::send(stream_.fd(), pending_head_.data(), pending_head_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  // What goes wrong here goes wrong again with the next write, which can say so.
  if (n > 0)
    pending_head_.erase(0, static_cast<std::size_t>(n));
}

asio::awaitable<void> session::send_parts(std::span<iovec> parts) {
  std::string const head = std::exchange(pending_head_, std::string());
  std::array<iovec, 5> all;
  std::size_t count = 0;
  if (!head.empty())
    all[count++] = part_of(head);
  for (auto const& part : parts)
    all[count++] = part;
  co_await stream_.write({all.data(), count}, owner_.options().allowed.write);
}

asio::awaitable<void> session::write(std::string_view bytes) {
  if (bytes.empty())
    co_return;
  if (output_ == output::length) {
    if (bytes.size() > output_left_)
      throw http_error{500, "internal", "more body than announced"};
    output_left_ -= bytes.size();
  }
  if (bodiless_) {
    if (!pending_head_.empty())
      co_await send_parts({});
    co_return;
  }
  if (output_ != output::chunked) {
    iovec part = part_of(bytes);
    co_await send_parts({&part, 1});
    co_return;
  }
  char size[20];
  int const digits = std::snprintf(size, sizeof size, "%zx\r\n", bytes.size());
  std::array<iovec, 3> parts{iovec{size, static_cast<std::size_t>(digits)}, part_of(bytes),
                             part_of("\r\n")};
  co_await send_parts(parts);
}

asio::awaitable<void> session::send_file(unique_fd file, std::uint64_t offset,
                                         std::uint64_t length) {
  auto& pool = owner_.shared().blocking;
  released_on<unique_fd> held(pool, std::move(file));
  if (bodiless_ || length == 0) {
    if (output_ == output::length)
      output_left_ -= (std::min)(length, output_left_);
    if (!pending_head_.empty())
      co_await send_parts({});
    co_return;
  }
  constexpr std::uint64_t piece_size = 64 * 1024;
  // Of a large file so much is copied, to be sent when the file is closed.
  constexpr std::uint64_t tail = 4096;
  if (output_ != output::chunked && length > piece_size) {
    co_await send_whole(held->get(), offset, length - tail);
    offset += length - tail;
    length = tail;
  }
  std::string piece;
  while (length > 0) {
    auto const wanted = static_cast<std::size_t>((std::min)(length, piece_size));
    bool const last = wanted == length;
    int const failed = co_await run_blocking(pool, [&held, &piece, wanted, last, offset] {
      piece.resize(wanted);
      ssize_t const n = ::pread(held->get(), piece.data(), wanted, static_cast<off_t>(offset));
      int const error = n < 0 ? errno : 0;
      piece.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
      if (last && piece.size() == wanted)
        held->reset();
      return error;
    });
    if (failed != 0)
      throw file_error(boost::system::error_code(failed, boost::system::system_category()));
    if (piece.empty())
      throw boost::system::system_error(asio::error::connection_aborted);
    offset += piece.size();
    length -= piece.size();
    co_await write(piece);
  }
}

// Sends bytes of a file with an answer of known length without copying them.
asio::awaitable<void> session::send_whole(int fd, std::uint64_t offset, std::uint64_t length) {
  if (output_ == output::length) {
    if (length > output_left_)
      throw http_error{500, "internal", "more body than announced"};
    output_left_ -= length;
  }
  co_await send_parts({});
  while (length > 0) {
    int const socket = stream_.fd();
    auto const sent = co_await run_blocking(owner_.shared().blocking, [socket, fd, offset, length] {
      return send_until_full(socket, fd, offset, length);
    });
    offset += sent.bytes;
    length -= sent.bytes;
    if (length == 0)
      break;
    if (sent.file_ended)
      throw boost::system::system_error(asio::error::connection_aborted);
    if (sent.error == EAGAIN)
      co_await stream_.wait_writable(stream::clock::now() + owner_.options().allowed.write);
    else if (sent.error != 0)
      throw boost::system::system_error(sent.error, boost::system::system_category());
  }
}

asio::awaitable<void> session::finish() {
  if (output_ == output::chunked) {
    output_ = output::finished;
    if (bodiless_) {
      co_await send_parts({});
    } else {
      iovec part = part_of("0\r\n\r\n");
      co_await send_parts({&part, 1});
    }
  } else if (output_ == output::until_close) {
    output_ = output::finished;
    if (!pending_head_.empty())
      co_await send_parts({});
  } else if (!pending_head_.empty()) {
    co_await send_parts({});
  }
}

}  // namespace hf::agent
