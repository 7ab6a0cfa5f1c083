#include "exec/streaming.hpp"

#include "detail/run_blocking.hpp"
#include "exec/event_encoder.hpp"

#include <boost/asio/error.hpp>

#include <chrono>
#include <utility>

namespace hf::agent {
namespace {

// Output that goes into one write.
constexpr std::size_t batch = 192 * 1024;
// Memory that a silent stream keeps.
constexpr std::size_t small_buffer = 16 * 1024;

[[noreturn]] void give_up() {
  throw boost::system::system_error(asio::error::connection_aborted);
}

class event_writer {
 public:
  event_writer(attachment& place, stream_options options)
      : place_(place), options_(options), last_write_(run::clock::now()) {
    if (options.start) {
      wire::start_event start;
      start.pid = place.target().pid();
      start.id = place.target().id();
      append_event(out_, start);
    }
  }

  byte_buffer& out() { return out_; }
  [[nodiscard]] bool complete() const { return complete_; }

  /// Takes what the log has for the reader.
  output_log::fetched gather() {
    auto& run = place_.target();
    auto const got = run.log().fetch(
        place_.reader(), batch,
        [this](wire::output_stream stream, std::string_view bytes, std::uint64_t seq) {
          append_output_event(out_, stream, bytes, options_.numbered ? seq : 0);
        });
    auto const next = place_.reader().next_seq();
    bool const at_exit = run.ended() && next == run.exit_seq();
    // Behind the exit there is more only as long as a descendant holds the output open.
    bool const behind_exit = run.ended() && next > run.exit_seq() && run.output_complete() &&
                             next > run.log().last_seq();
    if (at_exit || behind_exit) {
      if (at_exit)
        run.log().skip_number(place_.reader());
      auto exit = run.exit_event();
      if (!options_.numbered)
        exit.seq = 0;
      append_event(out_, exit);
      complete_ = true;
      return output_log::fetched::records;
    }
    return got;
  }

  asio::awaitable<void> flush(exchange& ex) {
    co_await ex.write(out_.view());
    out_.clear();
    last_write_ = run::clock::now();
    if (!place_.left())
      place_.target().reader_progress(place_.reader());
  }

  /// Waits for more; says that the stream is alive when nothing comes.
  asio::awaitable<void> wait(exchange& ex, std::chrono::milliseconds ping) {
    auto const until = last_write_ + ping;
    if (run::clock::now() >= until) {
      append_event(out_, wire::ping_event{});
      co_return;
    }
    if (out_.capacity() > small_buffer)
      out_.release();
    co_await place_.target().changed().wait(ex.executor(), until - run::clock::now());
  }

 private:
  attachment& place_;
  stream_options options_;
  byte_buffer out_;
  run::clock::time_point last_write_;
  bool complete_ = false;
};

asio::awaitable<void> read_back(exec_core& core, attachment& place) {
  auto& log = place.target().log();
  auto job = log.load_next(place.reader());
  if (!job.segment || !job.file)
    give_up();
  auto const shared_job = std::make_shared<output_log::disk_job>(std::move(job));
  auto work = [shared_job] { shared_job->run(); };
  co_await run_blocking(core.disk, std::move(work));
  if (!log.loaded(place.reader(), std::move(*shared_job)))
    give_up();
}

}  // namespace

attachment::attachment(std::shared_ptr<run> to, std::uint64_t after)
    : run_(std::move(to)), reader_(after) {
  run_->attach(reader_);
}

void attachment::leave() {
  if (std::exchange(left_, true))
    return;
  run_->detach(reader_);
  run_->changed().notify();
}

asio::awaitable<void> stream_events(exchange& ex, exec_core& core, attachment& place,
                                    stream_options options) {
  // At once, not when the next write fails: a caller without an operation id takes his run along.
  ex.on_caller_gone([&place] { place.leave(); });
  auto const active = core.shared.activity.hold();
  event_writer writer(place, options);
  co_await ex.begin(200, "application/x-ndjson", std::nullopt);
  if (ex.head().method == "HEAD") {
    co_await ex.finish();
    co_return;
  }
  if (!writer.out().empty())
    co_await writer.flush(ex);
  for (;;) {
    if (place.left())
      give_up();
    auto const got = writer.gather();
    if (got == output_log::fetched::spilled) {
      co_await read_back(core, place);
      continue;
    }
    if (got == output_log::fetched::gone)
      give_up();
    if (!writer.out().empty()) {
      co_await writer.flush(ex);
    } else if (!options.follow) {
      co_await ex.finish();
      co_return;
    } else {
      co_await writer.wait(ex, core.settings.ping);
      continue;
    }
    if (writer.complete()) {
      place.target().exit_delivered();
      co_await ex.finish();
      co_return;
    }
  }
}

}  // namespace hf::agent
