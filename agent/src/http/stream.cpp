#include "http/stream.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/cancellation_type.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/system/system_error.hpp>
#include <sys/socket.h>

#include <cerrno>
#include <tuple>
#include <utility>

namespace hf::agent {
namespace asio = boost::asio;
namespace {

[[noreturn]] void fail(int error) {
  throw boost::system::system_error(error, boost::system::system_category());
}

}  // namespace

stream::stream(asio::io_context& loop, deadlines& timers, unique_fd socket)
    : socket_(loop, socket.get()), reading_(timers, *this), writing_(timers, *this) {
  std::ignore = socket.release();
}

void stream::close() {
  boost::system::error_code ignored;
  socket_.close(ignored);
}

void stream::cancel() {
  boost::system::error_code ignored;
  socket_.cancel(ignored);
}

void stream::stop() {
  stopped_ = true;
  cancel();
}

asio::awaitable<void> stream::wait(half& direction, asio::posix::descriptor_base::wait_type what,
                                   clock::time_point deadline) {
  for (;;) {
    if (stopped_)
      throw boost::system::system_error(asio::error::operation_aborted);
    if (deadline != never)
      direction.set_deadline(deadline);
    auto const outcome = co_await socket_.async_wait(what, asio::as_tuple(asio::use_awaitable));
    if (deadline != never)
      direction.set_deadline(never);
    auto const failed = std::get<0>(outcome);
    if (std::exchange(direction.expired, false))
      throw boost::system::system_error(asio::error::timed_out);
    if (!failed)
      co_return;
    // Something else on this descriptor was cancelled, and that does not concern this direction.
    auto const state = co_await asio::this_coro::cancellation_state;
    if (failed != asio::error::operation_aborted || !socket_.is_open() ||
        state.cancelled() != asio::cancellation_type::none)
      throw boost::system::system_error(failed);
  }
}

asio::awaitable<void> stream::wait_readable(clock::time_point deadline) {
  return wait(reading_, asio::posix::descriptor_base::wait_read, deadline);
}

asio::awaitable<void> stream::wait_writable(clock::time_point deadline) {
  return wait(writing_, asio::posix::descriptor_base::wait_write, deadline);
}

asio::awaitable<std::size_t> stream::read_some(void* data, std::size_t size,
                                               clock::time_point deadline) {
  for (;;) {
    ssize_t const n = ::recv(fd(), data, size, MSG_DONTWAIT);
    if (n >= 0)
      co_return static_cast<std::size_t>(n);
    if (errno == EINTR)
      continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK)
      fail(errno);
    co_await wait_readable(deadline);
  }
}

asio::awaitable<void> stream::write(std::span<iovec> parts, clock::duration stall) {
  while (!parts.empty()) {
    msghdr message{};
    message.msg_iov = parts.data();
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(parts.size());
    ssize_t const n = ::sendmsg(fd(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0) {
      if (errno == EINTR)
        continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK)
        fail(errno);
      co_await wait_writable(stall == clock::duration::zero() ? never : clock::now() + stall);
      continue;
    }
    auto sent = static_cast<std::size_t>(n);
    while (!parts.empty() && sent >= parts.front().iov_len) {
      sent -= parts.front().iov_len;
      parts = parts.subspan(1);
    }
    if (sent > 0) {
      parts.front().iov_base = static_cast<char*>(parts.front().iov_base) + sent;
      parts.front().iov_len -= sent;
    }
  }
}

}  // namespace hf::agent
