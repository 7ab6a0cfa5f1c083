#include "exec/run.hpp"

#include "exec/event_encoder.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace hf::agent {
namespace {

// Above the standard streams, where a child's would be overwritten.
unique_fd lift(int fd) {
  if (fd > 2 || fd < 0)
    return unique_fd(fd);
  unique_fd low(fd);
  return unique_fd(::fcntl(low.get(), F_DUPFD_CLOEXEC, 3));
}

struct pipe_ends {
  unique_fd read;
  unique_fd write;
};

pipe_ends make_pipe(std::string const& program) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0)
    throw start_error(program, "fork", errno);
  pipe_ends pipe{lift(ends[0]), lift(ends[1])};
  if (!pipe.read || !pipe.write)
    throw start_error(program, "fork", EMFILE);
  return pipe;
}

// The list shows it; a foreground run is rarely listed, and its script may be long.
void shorten(wire::exec_request& request) {
  constexpr std::size_t most = 256;
  if (auto& script = request.script) {
    if (script->size() > most) {
      script->resize(most - incomplete_utf8_tail(std::string_view(*script).substr(0, most)));
      script->shrink_to_fit();
    }
    return;
  }
  auto& argv = request.argv;
  std::size_t size = 0;
  for (std::size_t i = 0; i < argv.size(); ++i)
    if ((size += argv[i].size() + 1) > most && i > 0) {
      argv.resize(i);
      argv.shrink_to_fit();
      return;
    }
}

unique_fd open_null(std::string const& program) {
  unique_fd null = lift(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (null)
    return null;
  if (errno == EMFILE || errno == ENFILE || errno == ENOMEM)
    throw start_error(program, "fork", errno);
  // A bare root file system has none: an empty pipe reads the same.
  return std::move(make_pipe(program).read);
}

}  // namespace

run::run(exec_core& core, run_account account, wire::exec_request request, bool foreground)
    : core_(core),
      account_(std::move(account)),
      request_(std::move(request)),
      foreground_(foreground),
      input_stream_(request_.input_stream),
      op_(request_.op),
      log_(*account_.budget, core.settings.log),
      timeout_(core.shared.loop),
      drain_(core.shared.loop),
      linger_(core.shared.loop) {
  // Only a caller who can come back needs what has been delivered already.
  if (!op_.empty() || !foreground_)
    log_.keep_delivered(core.settings.log.replay_window);
  if (request_.max_output)
    log_.limit_segments(static_cast<std::size_t>((std::min)(
        (std::max)(*request_.max_output / 4, std::uint64_t{512}), std::uint64_t{262160})));
}

void run::start(command_base const& base, std::string id) {
  id_ = std::move(id);
  marker_ = core_.shared.instance.substr(0, 16) + "-" + std::to_string(core_.next_serial++);
  auto command = make_plan(request_, base, marker_);
  auto& plan = command.plan;
  std::string const& program = plan.argv.front();

  pipe_ends out = make_pipe(program);
  pipe_ends err;
  if (!request_.merge_stderr)
    err = make_pipe(program);
  pipe_ends in;
  if (request_.input || request_.input_stream)
    in = make_pipe(program);
  else
    in.read = open_null(program);
  plan.in = in.read.get();
  plan.out = out.write.get();
  plan.err = request_.merge_stderr ? out.write.get() : err.write.get();

  started_ticks_ = ticks_now();
  started_ = clock::now();
  started_at_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  bool const attributed =
      request_.timeout || !op_.empty() || !foreground_ || base.always_attributed;
  auto started = spawn(plan, attributed);
  if (auto const* failure = std::get_if<spawn_failure>(&started))
    throw start_error(program, failure->stage, failure->error);

  active_.emplace(account_.activity->hold());
  // The pipes first: the command may have ended already, and its output comes before its end.
  auto& process = std::get<spawned>(started);
  pid_ = process.pid;
  out.write.reset();
  err.write.reset();
  open_output(0, std::move(out.read));
  if (err.read)
    open_output(1, std::move(err.read));
  watch_process(std::move(process));
  if (in.write) {
    in.read.reset();
    input_ = std::make_shared<stdin_pipe>(core_.shared.loop, std::move(in.write));
    if (request_.input)
      input_->send_all(std::move(*request_.input));
  }
  if (request_.timeout) {
    timeout_.expires_after(std::chrono::duration_cast<clock::duration>(
        std::chrono::duration<double>(*request_.timeout)));
    timeout_.async_wait([self = weak_from_this()](boost::system::error_code const& error) {
      auto const me = self.lock();
      if (error || !me || me->leader_end_)
        return;
      me->timed_out_ = true;
      me->kill();
    });
  }
  // What is large and was only needed for the start.
  request_.env.clear();
  request_.input.reset();
  if (foreground_)
    shorten(request_);
}

void run::open_output(std::size_t index, unique_fd end) {
  auto& pipe = pipes_[index];
  pipe.stream = index == 0 ? wire::output_stream::out : wire::output_stream::err;
  pipe.open = true;
  pipe.fd = end.release();
  ::fcntl(pipe.fd, F_SETFL, O_NONBLOCK);
  ++open_pipes_;
  boost::asio::co_spawn(core_.shared.loop, pump(index), boost::asio::detached);
}

void run::watch_process(spawned&& process) {
  auto const self = shared_from_this();
  // With a helper the command comes to the agent only if the helper is killed.
  core_.children.watch(pid_, [self](process_end how) { self->leader_has_ended(how); });
  if (process.helper <= 0)
    return;
  helper_ = process.helper;
  core_.children.watch_helper(helper_, [self](process_end) {
    self->helper_gone_ = true;
    self->changed_.notify();
  });
  boost::asio::co_spawn(core_.shared.loop, watch_helper(std::move(process.reports)),
                        boost::asio::detached);
}

void run::leader_has_ended(process_end how) {
  if (leader_end_)
    return;
  leader_end_ = how;
  leader_end_at_ = clock::now();
  core_.children.unwatch(pid_);
  timeout_.cancel();
  active_.reset();
  if (input_stream_ && input_)
    input_->close();
  // What the command itself has written is in the pipes now.
  for (auto& pipe : pipes_) {
    int pending = 0;
    if (pipe.open && ::ioctl(pipe.fd, FIONREAD, &pending) == 0)
      pipe.must_read = static_cast<std::uint64_t>(pending);
  }
  if (open_pipes_ > 0) {
    drain_.expires_after(core_.settings.drain);
    drain_.async_wait([self = shared_from_this()](boost::system::error_code const& error) {
      if (error)
        return;
      self->drain_over_ = true;
      self->maybe_end();
    });
  }
  changed_.notify();
  maybe_end();
}

void run::maybe_end() {
  if (exit_ || !leader_end_ || sweeping_)
    return;
  for (auto const& pipe : pipes_)
    if (pipe.open && (!drain_over_ || pipe.must_read > 0))
      return;
  drain_.cancel();
  for (auto& pipe : pipes_) {
    log_.append(pipe.stream, {pipe.carry.data(), pipe.carried});
    pipe.carried = 0;
  }
  wire::exit_event exit;
  if (leader_end_->code == CLD_EXITED)
    exit.exit_code = leader_end_->status;
  else
    exit.signal = leader_end_->status;
  exit.timed_out = timed_out_;
  exit.duration_ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(leader_end_at_ - started_).count();
  exit.output_open = open_pipes_ > 0;
  exit.unattributed = static_cast<std::int64_t>(unattributed_ + survivors_);
  exit.seq = log_.take_number();
  exit_ = exit;
  linger_.cancel();
  changed_.notify();
  room_.notify();
  if (on_ended_)
    std::exchange(on_ended_, nullptr)(*this);
  if (!log_.has_reader() && log_.memory() > (1u << 20))
    boost::asio::co_spawn(core_.shared.loop, spill_the_rest(), boost::asio::detached);
}

wire::exit_event run::exit_event() const {
  auto exit = *exit_;
  exit.dropped_bytes = log_.dropped_bytes();
  return exit;
}

std::uint64_t run::first_seq() const {
  auto const first = log_.first_seq();
  return exit_ ? (std::min)(first, exit_->seq) : first;
}

wire::process_entry run::entry() const {
  wire::process_entry entry;
  entry.id = id_;
  entry.pid = pid_;
  entry.cmd = wire::command_to_json(request_);
  entry.tag = request_.tag;
  entry.started_at_ms = started_at_ms_;
  entry.running = !leader_end_;
  if (leader_end_ && leader_end_->code == CLD_EXITED)
    entry.exit_code = leader_end_->status;
  return entry;
}

wire::run_status run::status() const {
  wire::run_status status;
  status.id = id_;
  status.pid = pid_;
  status.exited = exit_.has_value();
  status.first_seq = first_seq();
  status.last_seq = log_.last_seq();
  if (exit_)
    status.exit = exit_event();
  return status;
}

void run::attach(log_reader& reader) {
  log_.attach(reader);
  linger_.cancel();
}

void run::reader_progress(log_reader& reader) {
  log_.delivered(reader);
  room_.notify();
}

void run::detach(log_reader& reader) {
  log_.detach(reader);
  room_.notify();
  if (foreground_ && !exit_ && !log_.has_reader())
    caller_has_gone();
}

void run::caller_has_gone() {
  if (op_.empty()) {
    kill();
    return;
  }
  auto const linger = request_.linger ? std::chrono::duration_cast<clock::duration>(
                                            std::chrono::duration<double>(*request_.linger))
                                      : clock::duration(core_.settings.linger);
  linger_.expires_after(linger);
  linger_.async_wait([self = weak_from_this()](boost::system::error_code const& error) {
    auto const me = self.lock();
    if (!error && me && !me->log_.has_reader())
      me->kill();
  });
}

void run::forget() {
  forgotten_ = true;
  log_.clear_when_unread();
  room_.notify();
}

}  // namespace hf::agent
