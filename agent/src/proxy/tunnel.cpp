#include "proxy/tunnel.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <exception>
#include <string>

namespace hf::agent {
namespace asio = boost::asio;
namespace {

constexpr auto last_words = std::chrono::seconds(10);

// Bytes rest here between one receive and one send call, never longer.
std::array<char, 65536> scratch;

asio::awaitable<void> carry(stream& from, stream& to) {
  for (;;) {
    ssize_t const n = ::recv(from.fd(), scratch.data(), scratch.size(), MSG_DONTWAIT);
    if (n < 0 && errno == EINTR)
      continue;
    if (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
      throw boost::system::system_error(errno, boost::system::system_category());
    if (n < 0) {
      co_await from.wait_readable(stream::never);
      continue;
    }
    if (n == 0)
      break;
    auto const size = static_cast<std::size_t>(n);
    ssize_t sent = ::send(to.fd(), scratch.data(), size, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
      throw boost::system::system_error(errno, boost::system::system_category());
    if (sent < 0)
      sent = 0;
    if (static_cast<std::size_t>(sent) == size)
      continue;
    std::string rest(scratch.data() + sent, size - static_cast<std::size_t>(sent));
    iovec part{rest.data(), rest.size()};
    co_await to.write({&part, 1}, stream::clock::duration::zero());
  }
  ::shutdown(to.fd(), SHUT_WR);
}

}  // namespace

asio::awaitable<void> tunnel(asio::io_context& loop, stream& caller, stream& server) {
  // Both directions refer to what lives here, so this waits for both in any case.
  bool upward_ended = false;
  asio::steady_timer ended(loop, asio::steady_timer::time_point::max());
  asio::co_spawn(loop, carry(caller, server), [&](std::exception_ptr failed) {
    upward_ended = true;
    if (failed)
      server.stop();
    ended.cancel();
  });
  bool broken = false;
  try {
    co_await carry(server, caller);
  } catch (std::exception const&) {
    broken = true;
  }
  if (!broken && !upward_ended) {
    ended.expires_after(last_words);
    co_await ended.async_wait(asio::as_tuple(asio::use_awaitable));
  }
  caller.stop();
  server.stop();
  ended.expires_at(asio::steady_timer::time_point::max());
  while (!upward_ended)
    co_await ended.async_wait(asio::as_tuple(asio::use_awaitable));
}

}  // namespace hf::agent
