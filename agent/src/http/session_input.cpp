#include "detail/run_blocking.hpp"
#include "http/server.hpp"
#include "http/session.hpp"
#include "http/transfer_turn.hpp"

#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

namespace hf::agent {
namespace {

[[noreturn]] void fail_file(int error) {
  throw file_error(boost::system::error_code(error, boost::system::system_category()));
}

[[noreturn]] void fail_connection(int error) {
  throw boost::system::system_error(error, boost::system::system_category());
}

// Both ends of a pipe that bytes pass through without being copied.
struct splice_pipe {
  unique_fd out;
  unique_fd in;

  splice_pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
      fail_file(errno);
    out.reset(ends[0]);
    in.reset(ends[1]);
    // More than the default is a favour of the kernel.
    static_cast<void>(::fcntl(in.get(), F_SETPIPE_SZ, 1 << 20));
  }
};

void write_all_at(int fd, std::string_view bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    ssize_t const n = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0)
      fail_file(errno);
    bytes.remove_prefix(static_cast<std::size_t>(n));
    offset += static_cast<std::uint64_t>(n);
  }
}

void drain_pipe_into(int pipe, int fd, std::uint64_t offset, std::size_t size) {
  auto position = static_cast<loff_t>(offset);
  while (size > 0) {
    ssize_t n = ::splice(pipe, nullptr, fd, &position, size, SPLICE_F_MOVE);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno == EINVAL) {
      // A file system without splice, or a file opened for appending.
      char piece[65536];
      n = ::read(pipe, piece, std::min(sizeof piece, size));
      if (n <= 0)
        fail_file(n < 0 ? errno : EIO);
      write_all_at(fd, std::string_view(piece, static_cast<std::size_t>(n)),
                   static_cast<std::uint64_t>(position));
      position += n;
    }
    if (n < 0)
      fail_file(errno);
    if (n == 0)
      fail_file(EIO);
    size -= static_cast<std::size_t>(n);
  }
}

// What `splice_into_file` did.
struct received_part {
  // Taken from the socket, also when the file did not take it.
  std::uint64_t bytes = 0;
  // 0, EAGAIN, or what went wrong with the connection.
  int error = 0;
  bool ended = false;
  std::optional<file_error> refused = {};
};

// Moves up to `length` bytes from the socket into the file while there are some; runs on a thread
// where waiting for a disk hurts nobody.
received_part splice_into_file(int socket, splice_pipe const& through, int fd, std::uint64_t offset,
                               std::uint64_t length) {
  received_part got;
  // Others wait for this thread, too.
  length = (std::min)(length, std::uint64_t(1) << 24);
  auto const turn_ends = std::chrono::steady_clock::now() + longest_turn;
  std::size_t held = 0;
  auto const empty_pipe = [&] {
    auto const size = std::exchange(held, 0);
    if (size > 0)
      drain_pipe_into(through.out.get(), fd, offset + got.bytes - size, size);
  };
  try {
    while (got.bytes < length) {
      auto const wanted =
          static_cast<std::size_t>((std::min)(length - got.bytes, (std::uint64_t(1) << 20) - held));
      ssize_t const n = ::splice(socket, nullptr, through.in.get(), nullptr, wanted,
                                 SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
      if (n > 0) {
        got.bytes += static_cast<std::uint64_t>(n);
        held += static_cast<std::size_t>(n);
        if (held == std::size_t(1) << 20)
          empty_pipe();
        continue;
      }
      if (n < 0 && errno == EINTR)
        continue;
      got.ended = n == 0;
      got.error = n == 0 ? 0 : errno == EWOULDBLOCK ? EAGAIN : errno;
      if (got.error != EAGAIN)
        break;
      // Nothing to read, or the pipe is full.
      pollfd more{socket, POLLIN, 0};
      if (held > 0)
        empty_pipe();
      else if (std::chrono::steady_clock::now() >= turn_ends ||
               ::poll(&more, 1, quick_peer_ms) != 1)
        break;
      got.error = 0;
    }
    empty_pipe();
  } catch (file_error const& error) {
    got.refused = error;
  }
  return got;
}

}  // namespace

asio::awaitable<std::size_t> session::fill(stream::clock::time_point deadline) {
  auto& scratch = owner_.scratch();
  for (;;) {
    ssize_t const n = ::recv(stream_.fd(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n >= 0) {
      if (used_ > 0)
        input_.erase(0, std::exchange(used_, 0));
      input_.append(scratch.data(), static_cast<std::size_t>(n));
      co_return static_cast<std::size_t>(n);
    }
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
      fail_connection(errno);
    co_await stream_.wait_readable(deadline);
  }
}

void session::consume(std::size_t n) {
  used_ += n;
  if (used_ == input_.size()) {
    input_.clear();
    used_ = 0;
  }
}

bool session::body_complete() const {
  return framing_.chunked ? !parser_ || parser_->is_done() : body_left_ == 0;
}

std::optional<std::uint64_t> session::content_length() const {
  if (framing_.chunked)
    return std::nullopt;
  return framing_.length;
}

asio::awaitable<void> session::send_continue() {
  if (!std::exchange(continue_wanted_, false))
    co_return;
  static char const text[] = "HTTP/1.1 100 Continue\r\n\r\n";
  iovec part{const_cast<char*>(text), sizeof text - 1};
  co_await stream_.write({&part, 1}, owner_.options().allowed.write);
}

asio::awaitable<std::size_t> session::read_some(asio::mutable_buffer buffer) {
  if (body_complete() || buffer.size() == 0)
    co_return 0;
  co_await send_continue();
  std::size_t n = 0;
  if (framing_.chunked) {
    n = co_await read_chunked(buffer);
  } else {
    if (buffer.size() > body_left_)
      buffer = asio::buffer(buffer.data(), static_cast<std::size_t>(body_left_));
    if (auto const ready = buffered(); !ready.empty()) {
      n = (std::min)(ready.size(), buffer.size());
      std::memcpy(buffer.data(), ready.data(), n);
      consume(n);
    } else {
      n = co_await stream_.read_some(buffer.data(), buffer.size(),
                                     stream::clock::now() + owner_.options().allowed.body);
      if (n == 0)
        throw boost::system::system_error(asio::error::eof);
    }
    body_left_ -= n;
  }
  if (body_complete())
    watch();
  co_return n;
}

asio::awaitable<std::size_t> session::read_chunked(asio::mutable_buffer buffer) {
  for (;;) {
    auto const ready = buffered();
    std::size_t consumed = 0;
    std::size_t produced = 0;
    if (!parser_->decode(asio::buffer(ready.data(), ready.size()), buffer, consumed, produced)) {
      head_.keep_alive = false;
      throw http_error{400, "protocol_error", "malformed chunked body"};
    }
    consume(consumed);
    if (produced > 0 || parser_->is_done())
      co_return produced;
    // A chunk's size line, or the trailer, is still incomplete.
    if (buffered().size() > owner_.options().allowed.head_bytes) {
      head_.keep_alive = false;
      throw http_error{400, "protocol_error", "chunk header larger than 64 KiB"};
    }
    if (co_await fill(stream::clock::now() + owner_.options().allowed.body) == 0)
      throw boost::system::system_error(asio::error::eof);
  }
}

asio::awaitable<std::string> session::read_all(std::uint64_t limit) {
  auto const too_large = [&] {
    return http_error{
        413,
        "too_large",
        "request body larger than " + std::to_string(limit) + " bytes",
    };
  };
  if (!framing_.chunked && framing_.length > limit)
    throw too_large();
  std::string body;
  std::size_t filled = 0;
  while (!body_complete()) {
    if (filled == body.size()) {
      // Grows with what has come, not with what was announced; and only when it is full, because
      // what is added is written twice.
      std::uint64_t const least = 64 * 1024;
      std::uint64_t size = filled + (std::max)(std::uint64_t{filled}, least);
      if (!framing_.chunked)
        size = (std::min)(size, filled + body_left_);
      body.resize(static_cast<std::size_t>(size));
    }
    filled += co_await read_some(asio::buffer(body.data() + filled, body.size() - filled));
    if (filled > limit)
      throw too_large();
  }
  body.resize(filled);
  co_return body;
}

asio::awaitable<std::uint64_t> session::receive_into_file(int fd, std::uint64_t offset) {
  auto& pool = owner_.shared().blocking;
  auto const begin = offset;
  if (framing_.chunked) {
    std::string piece(256 * 1024, '\0');
    while (!body_complete()) {
      std::size_t filled = 0;
      while (filled < piece.size() && !body_complete())
        filled += co_await read_some(asio::buffer(piece.data() + filled, piece.size() - filled));
      std::string_view const bytes(piece.data(), filled);
      co_await run_blocking(pool, [fd, bytes, offset] { write_all_at(fd, bytes, offset); });
      offset += filled;
    }
    co_return offset - begin;
  }
  if (body_complete())
    co_return 0;
  co_await send_continue();
  if (!buffered().empty()) {
    auto const n =
        static_cast<std::size_t>((std::min)(std::uint64_t{buffered().size()}, body_left_));
    auto const bytes = buffered().substr(0, n);
    co_await run_blocking(pool, [fd, bytes, offset] { write_all_at(fd, bytes, offset); });
    consume(n);
    offset += n;
    body_left_ -= n;
  }
  if (!body_complete()) {
    splice_pipe const through;
    while (!body_complete()) {
      int const socket = stream_.fd();
      auto const left = body_left_;
      auto const got = co_await run_blocking(pool, [socket, &through, fd, offset, left] {
        return splice_into_file(socket, through, fd, offset, left);
      });
      body_left_ -= got.bytes;
      offset += got.bytes;
      if (got.refused)
        throw file_error(*got.refused);
      if (got.ended)
        throw boost::system::system_error(asio::error::eof);
      if (got.error == EAGAIN)
        co_await stream_.wait_readable(stream::clock::now() + owner_.options().allowed.body);
      else if (got.error != 0)
        fail_connection(got.error);
    }
  }
  watch();
  co_return offset - begin;
}

asio::awaitable<bool> session::drop_body() {
  if (body_complete())
    co_return true;
  auto const& allowed = owner_.options().allowed;
  if (continue_wanted_ || (!framing_.chunked && body_left_ > allowed.drain_bytes))
    co_return false;
  char sink[4096];
  std::uint64_t dropped = 0;
  try {
    while (!body_complete()) {
      dropped += co_await read_some(asio::buffer(sink));
      if (dropped > allowed.drain_bytes)
        co_return false;
    }
  } catch (http_error const&) {
    co_return false;
  }
  co_return true;
}

void session::on_caller_gone(std::function<void()> callback) {
  gone_ = std::move(callback);
  if (!gone_) {
    stop_watching();
    return;
  }
  if (ended_)
    asio::post(owner_.shared().loop, [self = shared_from_this(), at = watch_generation_] {
      if (self->gone_ && self->watch_generation_ == at)
        std::exchange(self->gone_, nullptr)();
    });
  else if (body_complete())
    watch();
}

void session::watch() {
  if (watching_ || !gone_ || ended_ || taken_over_)
    return;
  if (buffered().size() >= owner_.options().allowed.pipelined_bytes)
    return;
  watching_ = true;
  stream_.descriptor().async_wait(
      asio::posix::descriptor_base::wait_read,
      [self = shared_from_this(), at = watch_generation_](boost::system::error_code failed) {
        self->watched(failed, at);
      });
}

void session::watched(boost::system::error_code failed, unsigned generation) {
  if (generation != watch_generation_)
    return;
  watching_ = false;
  if (failed || !gone_)
    return;
  auto& scratch = owner_.scratch();
  ssize_t const n = ::recv(stream_.fd(), scratch.data(), scratch.size(), MSG_DONTWAIT);
  if (n > 0) {
    input_.append(scratch.data(), static_cast<std::size_t>(n));
  } else if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) {
    ended_ = true;
    std::exchange(gone_, nullptr)();
    return;
  }
  watch();
}

void session::stop_watching() {
  ++watch_generation_;
  if (std::exchange(watching_, false))
    stream_.cancel();
}

int session::take_over(std::string& already_read) {
  stop_watching();
  taken_over_ = true;
  already_read = std::string(buffered());
  input_ = std::string();
  used_ = 0;
  return stream_.release();
}

}  // namespace hf::agent
