#include "lifetime/watchdog.hpp"

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace hf::agent {
namespace asio = boost::asio;

asio::awaitable<void> wait_until_idle(context& shared, std::chrono::seconds timeout) {
  using namespace std::chrono_literals;
  asio::steady_timer timer(shared.loop);
  auto wait = activity::clock::duration(timeout);
  for (;;) {
    // Looks again now and then, because clocks of suspended machines stand still.
    timer.expires_after(std::clamp<activity::clock::duration>(wait, 10ms, 5s));
    if (timeout == 0s)
      timer.expires_after(5s);
    co_await timer.async_wait(asio::use_awaitable);
    wait = timeout - shared.activity.idle();
    if (wait <= 0s)
      co_return;
  }
}

asio::awaitable<void> wait_until_expired(context& shared, std::chrono::seconds lifetime) {
  asio::steady_timer timer(shared.loop);
  timer.expires_after(lifetime);
  co_await timer.async_wait(asio::use_awaitable);
}

asio::awaitable<void> wait_until_orphaned(context& shared, int pipe) {
  ::fcntl(pipe, F_SETFD, FD_CLOEXEC);
  ::fcntl(pipe, F_SETFL, ::fcntl(pipe, F_GETFL) | O_NONBLOCK);
  asio::posix::stream_descriptor end(shared.loop, pipe);
  for (;;) {
    co_await end.async_wait(asio::posix::descriptor_base::wait_read, asio::use_awaitable);
    char bytes[64];
    ssize_t const n = ::read(pipe, bytes, sizeof bytes);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
      co_return;
  }
}

}  // namespace hf::agent
