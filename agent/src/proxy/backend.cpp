#include "proxy/backend.hpp"

#include <boost/asio/error.hpp>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <memory>

namespace hf::agent {
namespace {

constexpr std::size_t relayed_at_once = 64 * 1024;
constexpr std::size_t largest_head = 256 * 1024;
constexpr auto connect_limit = std::chrono::seconds(10);

http_error bad_gateway(std::string message) {
  return {502, "protocol_error", std::move(message)};
}

}  // namespace

asio::awaitable<void> backend::connect(proxy_place const& place, std::uint16_t port) {
  port_ = port;
  if (place.home)
    socket_.emplace(shared_.loop, timers_, connect_in_home(*place.home, port));
  else
    co_await connect_to_loopback();
}

asio::awaitable<void> backend::connect_to_loopback() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port_);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int const error =
      co_await connect_to(reinterpret_cast<sockaddr const*>(&address), sizeof address);
  if (error == 0)
    co_return;
  if (error != ECONNREFUSED)
    throw_unreachable(port_, error);
  // Some servers listen on "localhost" in its newer meaning only.
  sockaddr_in6 newer{};
  newer.sin6_family = AF_INET6;
  newer.sin6_port = htons(port_);
  newer.sin6_addr = in6addr_loopback;
  if (co_await connect_to(reinterpret_cast<sockaddr const*>(&newer), sizeof newer) == 0)
    co_return;
  throw_unreachable(port_, error);
}

asio::awaitable<int> backend::connect_to(sockaddr const* address, socklen_t size) {
  unique_fd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) {
    // A kernel without this family has no server in it.
    if (errno == EAFNOSUPPORT)
      co_return EAFNOSUPPORT;
    throw boost::system::system_error(errno, boost::system::system_category());
  }
  int const on = 1;
  ::setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  int error = 0;
  if (::connect(fd.get(), address, size) != 0)
    error = errno;
  socket_.emplace(shared_.loop, timers_, std::move(fd));
  if (error != EINPROGRESS)
    co_return error;
  try {
    co_await socket_->wait_writable(stream::clock::now() + connect_limit);
  } catch (boost::system::system_error const& failed) {
    if (failed.code() != asio::error::timed_out)
      throw;
    error = ETIMEDOUT;
  }
  if (error == ETIMEDOUT)
    co_return error;
  socklen_t length = sizeof error;
  ::getsockopt(socket_->fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  co_return error;
}

asio::awaitable<void> backend::write(std::string_view bytes) {
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  co_await socket_->write({&part, 1}, stream::clock::duration::zero());
}

// False at the server's end; a reset counts as one.
asio::awaitable<bool> backend::fill() {
  co_await socket_->wait_readable(stream::never);
  auto const piece = std::make_unique<char[]>(relayed_at_once);
  std::size_t n = 0;
  try {
    n = co_await socket_->read_some(piece.get(), relayed_at_once, stream::never);
  } catch (boost::system::system_error const& failed) {
    if (failed.code() != boost::system::errc::connection_reset)
      throw;
  }
  received_.append(piece.get(), n);
  co_return n > 0;
}

asio::awaitable<void> backend::read_head(answer& into, bool to_head_request) {
  std::size_t looked = 0;
  for (;;) {
    auto const end = received_.find("\r\n\r\n", looked);
    if (end == std::string::npos) {
      looked = received_.size() > 3 ? received_.size() - 3 : 0;
      if (received_.size() > largest_head)
        throw bad_gateway("the server on port " + std::to_string(port_) +
                          " sent an answer with too large a head");
      if (!co_await fill())
        throw bad_gateway("the server on port " + std::to_string(port_) +
                          " closed the connection without an answer");
      continue;
    }
    std::string head = received_.substr(0, end + 4);
    received_.erase(0, end + 4);
    looked = 0;
    // An interim answer; its only use was to the server's peer, which is here.
    if (head.compare(0, 7, "HTTP/1.") == 0 && head.size() > 12 && head[9] == '1' &&
        head.compare(9, 3, "101") != 0)
      continue;
    into.raw_head = std::move(head);
    break;
  }
  boost::beast::error_code failed;
  auto& parser = into.parser;
  parser.eager(false);
  parser.skip(to_head_request);
  parser.put(boost::asio::buffer(into.raw_head), failed);
  if ((failed && failed != boost::beast::http::error::need_more) || !parser.is_header_done())
    throw bad_gateway("the server on port " + std::to_string(port_) + " does not speak HTTP/1.1");
  if (auto const length = parser.content_length())
    into.length = *length;
}

asio::awaitable<void> backend::relay_body(answer& from, exchange& to) {
  auto& parser = from.parser;
  if (parser.chunked()) {
    auto const piece = std::make_unique<char[]>(relayed_at_once);
    while (!parser.is_done()) {
      std::size_t consumed = 0;
      std::size_t produced = 0;
      if (!parser.decode(asio::buffer(received_), asio::buffer(piece.get(), relayed_at_once),
                         consumed, produced))
        throw boost::system::system_error(asio::error::connection_aborted);
      received_.erase(0, consumed);
      if (produced > 0)
        co_await to.write(std::string_view(piece.get(), produced));
      else if (!parser.is_done() && !co_await fill())
        throw boost::system::system_error(asio::error::connection_aborted);
    }
    co_return;
  }
  std::uint64_t left = from.length.value_or(~std::uint64_t{0});
  while (left > 0) {
    if (received_.empty() && !co_await fill()) {
      if (from.length)
        throw boost::system::system_error(asio::error::connection_aborted);
      co_return;
    }
    if (received_.size() > left)
      received_.resize(static_cast<std::size_t>(left));
    std::string const bytes = std::exchange(received_, std::string());
    if (from.length)
      left -= bytes.size();
    co_await to.write(bytes);
  }
}

}  // namespace hf::agent
