#include "detail/run_blocking.hpp"
#include "exec/event_encoder.hpp"
#include "exec/run.hpp"

#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace hf::agent {
namespace {

// Read from one pipe before others have their turn.
constexpr std::size_t fair_share = 512 * 1024;
// A command that fills its pipe gets a larger one.
constexpr int large_pipe = 1 << 20;
// What a log may have in memory when all logs together have too much.
constexpr std::uint64_t frugal = 256 * 1024;

}  // namespace

boost::asio::awaitable<void> run::pump(std::size_t index) {
  auto const self = shared_from_this();
  auto& pipe = pipes_[index];
  boost::asio::posix::stream_descriptor descriptor(core_.shared.loop, pipe.fd);
  std::size_t taken = 0;
  bool enlarged = false;
  auto& scratch = core_.scratch;
  for (;;) {
    std::memcpy(scratch.data(), pipe.carry.data(), pipe.carried);
    ssize_t const n = ::read(pipe.fd, scratch.data() + pipe.carried, scratch.size() - pipe.carried);
    if (n > 0) {
      auto const read = static_cast<std::size_t>(n);
      take_output(pipe, read);
      if (read >= 65536 && !std::exchange(enlarged, true))
        ::fcntl(pipe.fd, F_SETPIPE_SZ, large_pipe);
      if (!has_room())
        co_await make_room();
      taken += read;
      if (taken >= fair_share) {
        taken = 0;
        co_await boost::asio::post(core_.shared.loop, boost::asio::use_awaitable);
      }
      continue;
    }
    if (n < 0 && errno == EINTR)
      continue;
    if (n == 0 || errno != EAGAIN)
      break;
    taken = 0;
    pipe.must_read = 0;
    if (drain_over_)
      maybe_end();
    boost::system::error_code ignored;
    co_await descriptor.async_wait(
        boost::asio::posix::descriptor_base::wait_read,
        boost::asio::redirect_error(boost::asio::use_awaitable, ignored));
  }
  // Out of epoll first: a copy of the descriptor may live on in a process that is being started.
  ::close(descriptor.release());
  pipe.open = false;
  pipe.must_read = 0;
  --open_pipes_;
  if (!nobody_asks())
    log_.append(pipe.stream, {pipe.carry.data(), pipe.carried});
  pipe.carried = 0;
  changed_.notify();
  maybe_end();
}

void run::take_output(output_pipe& from, std::size_t read) {
  std::string_view bytes(core_.scratch.data(), from.carried + read);
  from.must_read -= (std::min)(from.must_read, std::uint64_t{read});
  // The beginning of a character waits for its end.
  from.carried = incomplete_utf8_tail(bytes);
  std::memcpy(from.carry.data(), bytes.data() + bytes.size() - from.carried, from.carried);
  bytes.remove_suffix(from.carried);
  if (nobody_asks())
    return;
  account_.activity->touch();
  log_.append(from.stream, bytes);
  changed_.notify();
  if (drain_over_)
    maybe_end();
}

bool run::has_room() const {
  if (nobody_asks())
    return true;
  bool const memory_short = account_.budget->memory_short();
  if (log_.has_reader())
    return log_.unread() <= log_.limits().backlog && !memory_short;
  auto const most = request_.max_output.value_or(UINT64_MAX);
  return !memory_short && log_.memory() <= log_.limits().memory && log_.undelivered() <= most;
}

boost::asio::awaitable<void> run::make_room() {
  auto const executor = co_await boost::asio::this_coro::executor;
  while (!nobody_asks()) {
    if (account_.budget->memory_short())
      core_.relieve();
    bool const memory_short = account_.budget->memory_short();
    if (memory_short && log_.memory() > frugal && log_.can_spill()) {
      auto job = log_.spill_oldest();
      if (job.segment) {
        auto const work = std::make_shared<output_log::disk_job>(std::move(job));
        co_await spill(work);
        continue;
      }
    }
    if (log_.has_reader()) {
      auto const unread = log_.unread();
      if (unread <= log_.limits().backlog && !(memory_short && unread > frugal))
        co_return;
      // Backpressure: the command waits for its reader, and nothing is lost.
      co_await room_.wait(executor, std::chrono::seconds(1));
      continue;
    }
    if (request_.max_output && log_.undelivered() > *request_.max_output) {
      if (!log_.drop_oldest())
        co_return;
      continue;
    }
    if (log_.memory() <= log_.limits().memory && !(memory_short && log_.memory() > frugal))
      co_return;
    auto job = log_.spill_oldest();
    if (job.segment) {
      auto const work = std::make_shared<output_log::disk_job>(std::move(job));
      co_await spill(work);
    } else if (spills_under_way_ > 0) {
      co_await room_.wait(executor, std::chrono::milliseconds(50));
    } else if (!log_.drop_oldest()) {
      co_return;
    }
  }
}

boost::asio::awaitable<void> run::spill(std::shared_ptr<output_log::disk_job> job) {
  ++spills_under_way_;
  // Named, because g++ 12 destroys captures of a temporary in a co_await expression twice.
  auto work = [job] { job->run(); };
  co_await run_blocking(core_.disk, std::move(work));
  --spills_under_way_;
  log_.spilled(std::move(*job));
  room_.notify();
}

boost::asio::awaitable<void> run::spill_the_rest() {
  auto const self = shared_from_this();
  while (!nobody_asks() && log_.memory() > (1u << 20) && !log_.has_reader()) {
    auto job = log_.spill_oldest();
    if (!job.segment)
      co_return;
    auto const work = std::make_shared<output_log::disk_job>(std::move(job));
    co_await spill(work);
  }
}

}  // namespace hf::agent
