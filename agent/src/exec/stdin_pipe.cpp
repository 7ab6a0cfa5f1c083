#include "exec/stdin_pipe.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

namespace hf::agent {
namespace {

constexpr std::size_t most_at_once = 64 * 1024;

}  // namespace

stdin_pipe::stdin_pipe(boost::asio::io_context& loop, unique_fd end) : end_(loop, end.release()) {
  ::fcntl(end_.native_handle(), F_SETFL, O_NONBLOCK);
}

void stdin_pipe::close() {
  ended_ = true;
  if (!end_.is_open())
    return;
  // Out of epoll first: a copy of the descriptor may live on in a process that is being started.
  end_.cancel();
  ::close(end_.release());
}

std::size_t stdin_pipe::write_some(std::string_view bytes) {
  for (;;) {
    if (!end_.is_open())
      return bytes.size();
    ssize_t const n =
        ::write(end_.native_handle(), bytes.data(), (std::min)(bytes.size(), most_at_once));
    if (n >= 0)
      return static_cast<std::size_t>(n);
    if (errno == EAGAIN)
      return 0;
    if (errno != EINTR)
      close();
  }
}

asio::awaitable<void> stdin_pipe::wait_writable() {
  boost::system::error_code ignored;
  co_await end_.async_wait(asio::posix::descriptor_base::wait_write,
                           asio::redirect_error(asio::use_awaitable, ignored));
}

asio::awaitable<void> stdin_pipe::write_rest(std::string bytes, std::size_t done) {
  auto const self = shared_from_this();
  while (done < bytes.size() && end_.is_open()) {
    std::size_t const n = write_some(std::string_view(bytes).substr(done));
    done += n;
    if (n == 0)
      co_await wait_writable();
  }
  close();
}

void stdin_pipe::send_all(std::string bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    std::size_t const n = write_some(std::string_view(bytes).substr(done));
    if (n == 0)
      break;
    done += n;
  }
  if (done == bytes.size())
    close();
  else
    asio::co_spawn(end_.get_executor(), write_rest(std::move(bytes), done), asio::detached);
}

asio::awaitable<void> stdin_pipe::feed(exchange& ex, std::uint64_t offset, bool eof) {
  auto const self = shared_from_this();
  auto const turn = ++turn_;
  if (end_.is_open())
    end_.cancel();
  auto const conflict = [&](char const* why) {
    return http_error{409, "conflict", why, {{"accepted", accepted_}, {"eof", ended_}}};
  };
  if (offset > accepted_ && !ended_)
    throw conflict("there is a gap between the accepted input and 'offset'");
  bool gone = false;
  ex.on_caller_gone([&gone, self] {
    gone = true;
    if (self->end_.is_open())
      self->end_.cancel();
  });
  std::uint64_t skip = accepted_ - (std::min)(offset, accepted_);
  std::vector<char> buffer(most_at_once);
  for (;;) {
    std::size_t const n = co_await ex.read_some(asio::buffer(buffer));
    if (turn != turn_)
      throw conflict("a later request took over");
    if (n == 0)
      break;
    std::string_view bytes(buffer.data(), n);
    auto const passed = (std::min)(skip, std::uint64_t{bytes.size()});
    skip -= passed;
    bytes.remove_prefix(static_cast<std::size_t>(passed));
    // After its end the rest of the input has nowhere to go.
    while (!bytes.empty() && !ended_) {
      std::size_t const taken = write_some(bytes);
      accepted_ += taken;
      bytes.remove_prefix(taken);
      if (taken != 0)
        continue;
      co_await wait_writable();
      if (gone)
        throw boost::system::system_error(asio::error::connection_aborted);
      if (turn != turn_)
        throw conflict("a later request took over");
    }
  }
  if (eof)
    close();
  json answer = json::object();
  answer["accepted"] = accepted_;
  answer["eof"] = ended_;
  co_await ex.respond(200, answer);
}

}  // namespace hf::agent
