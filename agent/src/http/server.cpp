#include "http/server.hpp"

#include "http/session.hpp"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

namespace hf::agent {
namespace {

// Descriptors that are given up one by one when there are no others.
std::size_t reserved_descriptors() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  return static_cast<std::size_t>(std::clamp<rlim_t>(limit.rlim_cur / 16, 1, 8));
}

constexpr std::size_t most_lingering = 32;

std::string overload_answer(std::string_view body) {
  std::string text =
      "HTTP/1.1 503 Service Unavailable\r\n"
      "Content-Type: application/json\r\n"
      "Connection: close\r\n"
      "Content-Length: ";
  text.append(std::to_string(body.size())).append("\r\n\r\n").append(body);
  return text;
}

std::string const& too_many_connections() {
  static std::string const text =
      overload_answer(R"({"code":"resource_exhausted","error":"too many connections"})");
  return text;
}

std::string const& out_of_descriptors() {
  static std::string const text =
      overload_answer(R"({"code":"resource_exhausted","errno":)" + std::to_string(EMFILE) +
                      R"(,"error":"out of file descriptors"})");
  return text;
}

}  // namespace

server::server(context& shared, router const& routes, server_options options, unique_fd listener)
    : shared_(shared),
      routes_(routes),
      options_(std::move(options)),
      timers_(shared.loop),
      listener_(shared.loop, listener.get()),
      pause_(shared.loop),
      reserved_(reserved_descriptors()) {
  std::ignore = listener.release();
  fill_reserve();
}

void server::fill_reserve() {
  while (reserve_.size() < reserved_) {
    unique_fd one(::eventfd(0, EFD_CLOEXEC));
    if (!one)
      return;
    reserve_.push_back(std::move(one));
  }
}

void server::start() {
  asio::co_spawn(shared_.loop, accept_loop(), asio::detached);
}

void server::stop_accepting() {
  stopping_ = true;
  pause_.cancel();
  boost::system::error_code ignored;
  listener_.close(ignored);
}

asio::awaitable<void> server::accept_loop() {
  while (!stopping_) {
    auto const outcome = co_await listener_.async_wait(asio::posix::descriptor_base::wait_read,
                                                       asio::as_tuple(asio::use_awaitable));
    if (std::get<0>(outcome))
      break;
    bool exhausted = false;
    // A bounded number at a time, so that a flood does not starve those who are connected.
    for (int i = 0; i < 64 && !stopping_; ++i) {
      unique_fd socket(
          ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (socket) {
        admit(std::move(socket));
        continue;
      }
      if (errno == EINTR || errno == ECONNABORTED)
        continue;
      if (errno == EAGAIN || errno == EWOULDBLOCK)
        break;
      if ((errno == EMFILE || errno == ENFILE) && !reserve_.empty()) {
        reserve_.pop_back();
        socket.reset(
            ::accept4(listener_.native_handle(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
        if (socket) {
          // While the answer is being read, the connection has the place of the reserve.
          refuse(std::move(socket), out_of_descriptors());
          log_.line("out of file descriptors; a connection was refused");
          continue;
        }
      }
      exhausted = true;
      break;
    }
    fill_reserve();
    if (exhausted && !stopping_) {
      pause_.expires_after(std::chrono::milliseconds(50));
      co_await pause_.async_wait(asio::as_tuple(asio::use_awaitable));
    }
  }
}

void server::admit(unique_fd socket) {
  if (options_.admits && !options_.admits(socket.get())) {
    log_.line("a connection from inside a sandbox was refused");
    return;
  }
  int const on = 1;
  ::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (sessions_ >= options_.allowed.connections) {
    log_.line("too many connections; one was refused");
    refuse(std::move(socket), too_many_connections());
    return;
  }
  try {
    auto opened = std::make_shared<session>(*this, std::move(socket));
    asio::co_spawn(
        shared_.loop, [opened]() { return opened->run(); }, asio::detached);
  } catch (std::exception const&) {
    log_.line("no memory for a connection");
  }
}

void server::refuse(unique_fd socket, std::string_view answer) {
  std::ignore = ::send(socket.get(), answer.data(), answer.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::shutdown(socket.get(), SHUT_WR);
  // Closed with unread bytes in it, the answer would be lost in a reset.
  std::ignore = ::recv(socket.get(), scratch_.data(), scratch_.size(), MSG_DONTWAIT);
  if (lingering_ >= most_lingering)
    return;
  try {
    asio::co_spawn(shared_.loop, linger(std::move(socket)), asio::detached);
  } catch (std::exception const&) {
  }
}

asio::awaitable<void> server::linger(unique_fd socket) {
  ++lingering_;
  try {
    stream closing(shared_.loop, timers_, std::move(socket));
    auto const until = stream::clock::now() + options_.allowed.linger;
    for (;;) {
      co_await closing.wait_readable(until);
      if (::recv(closing.fd(), scratch_.data(), scratch_.size(), MSG_DONTWAIT) == 0)
        break;
      if (stream::clock::now() >= until)
        break;
    }
  } catch (std::exception const&) {
  }
  --lingering_;
  fill_reserve();
}

}  // namespace hf::agent
