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
    throw start_error(program, {"fork", errno});
  pipe_ends pipe{lift(ends[0]), lift(ends[1])};
  if (!pipe.read || !pipe.write)
    throw start_error(program, {"fork", EMFILE});
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

// Opened once, while nobody could have put anything in its place.
int null_input() {
  static int const fd = lift(::open("/dev/null", O_RDONLY | O_CLOEXEC)).release();
  return fd;
}

}  // namespace

// What a start needs until it is settled: the agent's ends of the pipes.
struct run::start_state {
  std::shared_ptr<process_start> process;
  unique_fd out;
  unique_fd err;
  unique_fd in;
  std::string program;
  std::function<void(run&)> settled;
};

void open_null_input() {
  static_cast<void>(null_input());
}

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

run::~run() = default;

void run::start(command_base const& base, std::optional<identity> const& user,
                std::function<void(run&)> settled) {
  marker_ = core_.shared.instance.substr(0, 16) + "-" + std::to_string(core_.next_serial++);
  auto command = make_plan(request_, base, marker_, user);
  auto& plan = command.plan;
  auto state = std::make_unique<start_state>();
  state->program = plan.argv.front();
  state->settled = std::move(settled);

  pipe_ends out = make_pipe(state->program);
  pipe_ends err;
  if (!request_.merge_stderr)
    err = make_pipe(state->program);
  pipe_ends in;
  // A bare root file system has no /dev/null: an empty pipe reads the same.
  if (request_.input || request_.input_stream || null_input() < 0)
    in = make_pipe(state->program);
  plan.in = in.read ? in.read.get() : null_input();
  plan.out = out.write.get();
  plan.err = request_.merge_stderr ? out.write.get() : err.write.get();
  // /dev/stdout and its like are opened anew, by the command's user.
  if (plan.user)
    for (int const fd : {in.read.get(), out.write.get(), err.write.get()})
      if (fd >= 0)
        static_cast<void>(::fchown(fd, plan.user->uid, plan.user->gid));
  state->out = std::move(out.read);
  state->err = std::move(err.read);
  if (request_.input || request_.input_stream)
    state->in = std::move(in.write);

  started_ticks_ = ticks_now();
  started_ = clock::now();
  started_at_ms_ = std::chrono::duration_cast<std::chrono::milliseconds>(
                       std::chrono::system_clock::now().time_since_epoch())
                       .count();
  bool const attributed =
      request_.timeout || !op_.empty() || !foreground_ || base.always_attributed;
  state->process = std::make_shared<process_start>(core_.shared.loop, core_.children,
                                                   std::move(plan), attributed);
  auto const failure = state->process->begin(
      [self = shared_from_this()](auto how) { self->start_has_ended(std::move(how)); });
  if (failure)
    throw start_error(state->program, *failure);
  start_ = std::move(state);
  active_.emplace(account_.activity->hold());
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
}

std::weak_ptr<void const> run::start_under_way() const {
  return start_ ? std::weak_ptr<void const>(start_->process) : std::weak_ptr<void const>();
}

void run::start_has_ended(process_start::outcome how) {
  // Given up before; what was killed is no longer in the way of anybody.
  if (!start_)
    return;
  auto const state = std::exchange(start_, nullptr);
  if (auto const* failure = std::get_if<spawn_failure>(&how)) {
    start_failure_ = start_error(state->program, *failure);
  } else {
    // The pipes first: the command may have ended already, and its output comes before its end.
    auto& process = std::get<spawned>(how);
    pid_ = process.pid;
    open_output(0, std::move(state->out));
    if (state->err)
      open_output(1, std::move(state->err));
    watch_process(std::move(process));
    if (state->in) {
      input_ = std::make_shared<stdin_pipe>(core_.shared.loop, std::move(state->in));
      if (request_.input)
        input_->send_all(std::move(*request_.input));
    }
  }
  settle(*state);
}

void run::give_up_start(int error) {
  auto const state = std::exchange(start_, nullptr);
  state->process->kill();
  start_failure_ = start_error(state->program, {"exec", error});
  settle(*state);
}

void run::settle(start_state& state) {
  // What is large and was only needed for the start.
  request_.env.clear();
  request_.input.reset();
  if (foreground_)
    shorten(request_);
  if (start_failure_) {
    timeout_.cancel();
    active_.reset();
  }
  std::exchange(state.settled, nullptr)(*this);
  changed_.notify();
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
