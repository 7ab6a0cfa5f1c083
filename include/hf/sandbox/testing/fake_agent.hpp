#ifndef HF_SANDBOX_TESTING_FAKE_AGENT_HPP
#define HF_SANDBOX_TESTING_FAKE_AGENT_HPP

#include <hf/sandbox/detail/base64.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/testing/agent_replies.hpp>
#include <hf/sandbox/testing/script.hpp>
#include <hf/sandbox/wire/events.hpp>
#include <hf/sandbox/wire/files.hpp>
#include <hf/sandbox/wire/json.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::testing {

/// What a faked command was started with.
struct fake_command {
  /// The script, or the arguments with a space between them.
  std::string line = {};
  /// Environment variables of the call.
  std::map<std::string, std::string> env = {};
  /// Working directory; empty: none was named.
  std::string cwd = {};
  /// All of its standard input.
  std::string input = {};
  /// The user to run as; empty: none was named.
  std::string user = {};
  /// Whether it was started by `spawn`.
  bool background = false;
};

/// What a faked command does.
struct fake_run {
  /// Standard output.
  std::string out = {};
  /// Standard error.
  std::string err = {};
  /// Exit code.
  int exit_code = 0;
  /// The signal that ends it; 0: none.
  int signal = 0;
  /// Its timeout ends it.
  bool timed_out = false;
  /// It writes its output and runs until it is killed or signalled, as a server does.
  bool keeps_running = false;
};

/// An agent in memory, behind `fake_sandbox`: commands have the replies that a test gave them, files
/// are a map. Safe to use from several threads; replies are computed without a lock held.
///
/// A command's output is one record a stream, and appears all at once when the reply is known; with
/// `open_input` that is when the input ends. Requests never break off: wrap the transport in a
/// `fault_transport` for that.
class fake_agent {
 public:
  /// Makes the reply for a command.
  using reply = std::function<fake_run(fake_command const&)>;

  /// Commands whose line matches the pattern have this reply; the newest that fits is taken.
  void on(std::string pattern, reply make) {
    std::lock_guard const lock(mutex_);
    replies_.emplace_back(std::move(pattern), std::move(make));
  }
  /// The next request fails with this error in place of an answer.
  void fail_next(error what) {
    std::lock_guard const lock(mutex_);
    failures_.push_back(std::move(what));
  }
  /// The commands so far, in order.
  [[nodiscard]] std::vector<fake_command> commands() const {
    std::lock_guard const lock(mutex_);
    return commands_;
  }
  /// The files by absolute path.
  [[nodiscard]] std::map<std::string, std::string> files() const {
    std::lock_guard const lock(mutex_);
    std::map<std::string, std::string> out;
    for (auto const& [path, file] : files_)
      out[path] = file.content;
    return out;
  }
  /// Writes a file.
  void write(std::string const& path, std::string content) {
    std::lock_guard const lock(mutex_);
    put(absolute(path)).content = std::move(content);
  }

  /// Answers one request.
  void send(seen_request const& seen, http::request const& rq, http::response_sink& sink) {
    {
      std::lock_guard const lock(mutex_);
      if (!failures_.empty()) {
        auto const failure = failures_.front();
        failures_.erase(failures_.begin());
        throw failure;
      }
    }
    auto const query = query_of(seen.query);
    std::string_view const path = seen.path;
    if (path == wire::health_route || path == wire::info_route)
      return answer(sink, json_reply(about()));
    if (path == wire::exec_route)
      return exec(seen, rq, sink);
    if (path.starts_with(wire::processes_route))
      return processes(seen, query, rq, sink);
    if (path.starts_with("/v1/ops/"))
      return answer(sink, operation(std::string(path.substr(8))));
    if (path.starts_with("/v1/files/"))
      return answer(sink, file_call(seen, query));
    answer(sink, error_reply(404, "not_found", "the fake agent has no route " + seen.path));
  }

 private:
  using json = wire::json;
  using query_map = std::map<std::string, std::string>;
  using response = http::response;

  struct stored_file {
    std::string content = {};
    std::uint32_t mode = 0644;
  };
  struct process {
    std::string id = {};
    std::int64_t pid = 0;
    std::string op = {};
    json cmd = nullptr;
    std::optional<std::string> tag = {};
    fake_command command = {};
    bool input_open = false;
    bool has_reply = false;
    bool merged = false;
    fake_run run = {};

    [[nodiscard]] bool ended() const { return has_reply && !run.keeps_running; }
    [[nodiscard]] wire::exit_event exit() const {
      wire::exit_event e;
      if (run.signal != 0)
        e.signal = run.signal;
      else if (!run.timed_out)
        e.exit_code = run.exit_code;
      e.timed_out = run.timed_out;
      e.duration_ms = 1;
      e.seq = last_seq();
      return e;
    }
    /// Output is one record a stream: standard output, then standard error, then the end.
    [[nodiscard]] std::uint64_t last_seq() const {
      return std::uint64_t{!run.out.empty()} + std::uint64_t{!run.err.empty()} +
             std::uint64_t{ended()};
    }
    [[nodiscard]] std::string lines_behind(std::uint64_t after) const {
      std::string text;
      std::uint64_t seq = 0;
      auto const add = [&](wire::output_stream stream, std::string const& data) {
        if (!data.empty() && ++seq > after)
          text += wire::event_to_json(wire::output_event{stream, data, seq}).dump() + "\n";
      };
      add(wire::output_stream::out, run.out);
      add(merged ? wire::output_stream::out : wire::output_stream::err, run.err);
      if (ended() && last_seq() > after)
        text += wire::event_to_json(exit()).dump() + "\n";
      return text;
    }
    [[nodiscard]] json status() const {
      wire::run_status s;
      s.id = id;
      s.pid = pid;
      s.exited = ended();
      s.last_seq = last_seq();
      s.exit = exit();
      return wire::run_status_to_json(s);
    }
  };
  using process_ptr = std::shared_ptr<process>;

  static json about() {
    json j = {{"protocol", 3}, {"version", "fake"}, {"features", json::object()}};
    for (auto const* name : {"events", "wait", "signal", "merge_stderr", "user", "stdin_stream",
                             "files_atomic_write"})
      j["features"][name] = true;
    return j;
  }
  static void answer(http::response_sink& sink, response reply) {
    reply.fields.set(std::string(wire::instance_header), "fake");
    if (sink.on_head({reply.status, reply.fields}) == http::flow::stop || reply.body.empty())
      return;
    sink.on_data(std::as_bytes(std::span(reply.body.data(), reply.body.size())));
  }
  static query_map query_of(std::string_view text) {
    auto const decoded = [](std::string_view part) {
      std::string out;
      for (std::size_t i = 0; i < part.size(); ++i)
        if (part[i] == '%' && i + 2 < part.size()) {
          out += static_cast<char>(std::stoi(std::string(part.substr(i + 1, 2)), nullptr, 16));
          i += 2;
        } else {
          out += part[i];
        }
      return out;
    };
    query_map out;
    while (!text.empty()) {
      auto const item = text.substr(0, text.find('&'));
      text.remove_prefix((std::min)(text.size(), item.size() + 1));
      auto const equals = (std::min)(item.size(), item.find('='));
      out[decoded(item.substr(0, equals))] =
          decoded(item.substr((std::min)(item.size(), equals + 1)));
    }
    return out;
  }
  static std::uint64_t number(query_map const& query, std::string const& name) {
    auto const it = query.find(name);
    return it == query.end() ? 0 : std::stoull(it->second);
  }

  /// Waits until the condition holds, the time is over, or the request is given up.
  template <class Ready>
  void await(std::unique_lock<std::mutex>& lock, http::request const& rq,
             std::chrono::milliseconds time, Ready ready) {
    using clock = std::chrono::steady_clock;
    auto const until = clock::now() + time;
    while (!ready() && clock::now() < until) {
      if (rq.stop.stop_requested())
        throw error(errc::cancelled, "the request was cancelled");
      if (rq.deadline && clock::now() >= *rq.deadline)
        throw error(errc::request_timed_out, "the request's deadline passed",
                    {.may_have_reached_peer = true});
      changed_.wait_for(lock, std::chrono::milliseconds(10));
    }
  }
  static constexpr std::chrono::milliseconds for_long{3'600'000};

  /// Makes the process of a request; null: it has one already, by its operation id.
  process_ptr start(json const& j, bool background) {
    auto p = std::make_shared<process>();
    p->cmd = j.at("cmd");
    if (p->cmd.is_string())
      p->command.line = p->cmd.get<std::string>();
    else
      for (auto const& item : p->cmd)
        p->command.line += (p->command.line.empty() ? "" : " ") + item.get<std::string>();
    p->command.cwd = j.value("cwd", "");
    p->command.user = j.value("user", "");
    p->command.background = background;
    if (j.contains("env"))
      p->command.env = j["env"].get<std::map<std::string, std::string>>();
    if (j.contains("tag"))
      p->tag = j["tag"].get<std::string>();
    p->merged = j.value("merge_stderr", false);
    p->op = j.value("op", "");
    if (j.contains("stdin_b64"))
      p->command.input = hf::detail::base64_decode(j["stdin_b64"].get<std::string>()).value_or("");
    else if (j.contains("stdin") && j["stdin"] == std::string(wire::stream_input) &&
             j.value("v", 1) >= 2)
      p->input_open = true;
    else
      p->command.input = j.value("stdin", "");
    std::lock_guard const lock(mutex_);
    for (auto const& known : processes_)
      if (!p->op.empty() && known->op == p->op)
        return known;
    p->id = "p-" + std::to_string(processes_started_);
    p->pid = 100 + processes_started_++;
    return p;
  }
  /// The reply of the newest pattern that fits; nothing: there is none.
  std::optional<reply> reply_for(std::string const& line) const {
    std::lock_guard const lock(mutex_);
    for (auto it = replies_.rbegin(); it != replies_.rend(); ++it)
      if (matches_pattern(it->first, line))
        return it->second;
    return std::nullopt;
  }
  void keep(process_ptr const& p) {
    std::lock_guard const lock(mutex_);
    if (std::find(processes_.begin(), processes_.end(), p) == processes_.end())
      processes_.push_back(p);
  }
  /// Computes what the command does, once its input is complete.
  void run(process_ptr const& p, reply const& make) {
    auto done = make(p->command);
    std::lock_guard const lock(mutex_);
    commands_.push_back(p->command);
    p->run = std::move(done);
    p->has_reply = true;
    changed_.notify_all();
  }
  static response no_reply(std::string const& line) {
    return error_reply(400, "exec_failed",
                       "the fake sandbox has no reply for '" + line + "'; give it one with on()");
  }

  void exec(seen_request const& seen, http::request const& rq, http::response_sink& sink) {
    auto const p = start(json::parse(seen.body), false);
    auto const make = reply_for(p->command.line);
    if (!make)
      return answer(sink, no_reply(p->command.line));
    keep(p);
    auto const started = wire::event_to_json(wire::start_event{p->pid, p->id}).dump() + "\n";
    answer(sink, {200, {{"Content-Type", "application/x-ndjson"}}, started});
    if (!p->has_reply) {
      std::unique_lock lock(mutex_);
      await(lock, rq, for_long, [&] { return !p->input_open; });
      lock.unlock();
      run(p, *make);
    }
    follow(p, 0, true, rq, sink);
  }
  /// Hands out the records behind `after`, and with `wait` those that come until the end.
  void follow(process_ptr const& p, std::uint64_t after, bool wait, http::request const& rq,
              http::response_sink& sink) {
    for (;;) {
      std::unique_lock lock(mutex_);
      if (wait)
        await(lock, rq, for_long, [&] { return p->ended() || p->last_seq() > after; });
      auto const text = p->lines_behind(after);
      after = (std::max)(after, p->last_seq());
      bool const over = p->ended() || !wait;
      lock.unlock();
      if (!text.empty() &&
          sink.on_data(std::as_bytes(std::span(text.data(), text.size()))) == http::flow::stop)
        return;
      if (over)
        return;
    }
  }

  void processes(seen_request const& seen, query_map const& query, http::request const& rq,
                 http::response_sink& sink) {
    if (seen.path == wire::processes_route)
      return answer(sink, seen.method == "POST" ? spawn(json::parse(seen.body)) : list());
    auto rest = seen.path.substr(wire::processes_route.size() + 1);
    auto const slash = (std::min)(rest.size(), rest.find('/'));
    auto const below = rest.substr(slash);
    process_ptr p;
    {
      std::lock_guard const lock(mutex_);
      for (auto const& known : processes_)
        if (known->id == rest.substr(0, slash))
          p = known;
    }
    if (!p)
      return answer(sink, error_reply(404, "not_found", "no process " + rest.substr(0, slash)));
    if (below == "/events") {
      answer(sink, {200, {{"Content-Type", "application/x-ndjson"}}, {}});
      return follow(p, number(query, "after"), query.count("follow") != 0, rq, sink);
    }
    if (below == "/wait") {
      auto const seconds = query.count("timeout") != 0 ? query.at("timeout") : "0";
      auto const dot = (std::min)(seconds.size(), seconds.find('.'));
      auto const time =
          std::chrono::milliseconds(std::stoll(seconds.substr(0, dot)) * 1000 +
                                    (dot < seconds.size() ? std::stoll(seconds.substr(dot + 1)) : 0));
      std::unique_lock lock(mutex_);
      await(lock, rq, time, [&] { return p->ended(); });
      auto const status = p->status();
      lock.unlock();
      return answer(sink, json_reply(status));
    }
    if (below == "/stdin")
      return answer(sink, take_input(p, seen.body, number(query, "offset"), query.count("eof") != 0));
    std::unique_lock lock(mutex_);
    bool const running = !p->ended();
    if (running) {
      p->run.signal = seen.method == "DELETE" ? 9 : json::parse(seen.body).value("signal", 15);
      p->run.keeps_running = false;
      p->has_reply = true;
      p->input_open = false;
    }
    if (seen.method == "DELETE")
      processes_.erase(std::find(processes_.begin(), processes_.end(), p));
    changed_.notify_all();
    lock.unlock();
    answer(sink, json_reply(seen.method == "DELETE" ? json{{"ok", true}, {"killed", running}}
                                                    : json{{"signalled", running ? 1 : 0}}));
  }
  response spawn(json const& j) {
    auto const p = start(j, true);
    auto const make = reply_for(p->command.line);
    if (!make)
      return no_reply(p->command.line);
    keep(p);
    if (!p->input_open && !p->has_reply)
      run(p, *make);
    return json_reply(entry_of(*p));
  }
  response list() const {
    std::lock_guard const lock(mutex_);
    json all = json::array();
    for (auto const& p : processes_)
      if (p->command.background)
        all.push_back(entry_of(*p));
    return json_reply(all);
  }
  static json entry_of(process const& p) {
    wire::process_entry entry;
    entry.id = p.id;
    entry.pid = p.pid;
    entry.cmd = p.cmd;
    entry.tag = p.tag;
    entry.running = !p.ended();
    if (p.ended() && p.run.signal == 0)
      entry.exit_code = p.run.exit_code;
    return wire::process_entry_to_json(entry);
  }
  response take_input(process_ptr const& p, std::string const& bytes, std::uint64_t offset,
                      bool eof) {
    std::unique_lock lock(mutex_);
    auto& input = p->command.input;
    if (offset > input.size())
      return error_reply(409, "conflict", "input is missing before this offset");
    input.replace(static_cast<std::size_t>(offset), bytes.size(), bytes);
    auto const accepted = input.size();
    bool const complete = eof && p->input_open;
    if (complete)
      p->input_open = false;
    changed_.notify_all();
    lock.unlock();
    if (complete && p->command.background)
      if (auto const make = reply_for(p->command.line))
        run(p, *make);
    return json_reply({{"accepted", accepted}});
  }
  response operation(std::string const& op) const {
    std::lock_guard const lock(mutex_);
    for (auto const& p : processes_)
      if (p->op == op)
        return json_reply(p->status());
    return error_reply(404, "op_unknown", "no such operation");
  }

  static std::string absolute(std::string const& path) {
    return path.starts_with('/') ? path : "/root/" + path;
  }
  static std::string parent_of(std::string const& path) {
    return path.substr(0, (std::max)(std::size_t{1}, path.rfind('/')));
  }
  void make_directories(std::string path) {
    for (; path != "/" && directories_.insert(path).second; path = parent_of(path)) {
    }
  }
  stored_file& put(std::string const& path) {
    make_directories(parent_of(path));
    return files_[path];
  }
  static response missing(std::string const& path) {
    return error_reply(404, "not_found", "'" + path + "': no such file or directory", 2);
  }
  [[nodiscard]] json entry_at(std::string const& path) const {
    wire::file_entry entry;
    entry.path = path;
    entry.name = path == "/" ? path : path.substr(path.rfind('/') + 1);
    if (auto const it = files_.find(path); it != files_.end()) {
      entry.size = it->second.content.size();
      entry.mode = it->second.mode;
    } else {
      entry.type = wire::file_type::directory;
      entry.mode = 0755;
    }
    entry.mtime_ms = 0;
    return wire::file_entry_to_json(entry);
  }
  response file_call(seen_request const& seen, query_map const& query) {
    std::lock_guard const lock(mutex_);
    auto path = absolute(query.count("path") != 0 ? query.at("path") : "");
    while (path.size() > 1 && path.ends_with('/'))
      path.pop_back();
    bool const is_file = files_.count(path) != 0;
    bool const is_directory = path == "/" || directories_.count(path) != 0;
    std::string_view const route = seen.path;
    if (route == wire::files_write_route) {
      if (is_directory)
        return error_reply(400, "is_directory", "'" + path + "' is a directory", 21);
      auto& target = put(path);
      auto const at = static_cast<std::size_t>(number(query, "offset"));
      if (query.count("offset") == 0)
        target.content.clear();
      target.content.resize((std::max)(target.content.size(), at + seen.body.size()));
      target.content.replace(at, seen.body.size(), seen.body);
      if (query.count("truncate_to") != 0)
        target.content.resize(static_cast<std::size_t>(number(query, "truncate_to")));
      if (query.count("mode") != 0)
        target.mode = wire::detail::parse_octal(query.at("mode"));
      return json_reply(wire::write_result_to_json(wire::write_result{path, seen.body.size()}));
    }
    if (route == wire::files_mkdir_route) {
      if (is_file)
        return error_reply(400, "not_directory", "'" + path + "' is a file", 20);
      make_directories(path);
      return json_reply({{"ok", true}});
    }
    if (!is_file && !is_directory)
      return missing(path);
    if (route == wire::files_stat_route)
      return json_reply(entry_at(path));
    if (route == wire::files_read_route) {
      if (is_directory)
        return error_reply(400, "is_directory", "'" + path + "' is a directory", 21);
      auto const& content = files_[path].content;
      auto const at = (std::min)(content.size(), static_cast<std::size_t>(number(query, "offset")));
      auto const length = query.count("length") != 0 ? number(query, "length") : content.size();
      return file_reply(content.substr(at, static_cast<std::size_t>(length)));
    }
    if (route == wire::files_list_route) {
      if (is_file)
        return error_reply(400, "not_directory", "'" + path + "' is a file", 20);
      std::set<std::string> names;
      for (auto const& [name, unused] : files_)
        if (parent_of(name) == path)
          names.insert(name);
      for (auto const& name : directories_)
        if (parent_of(name) == path)
          names.insert(name);
      json entries = json::array();
      for (auto const& name : names)
        entries.push_back(entry_at(name));
      return json_reply({{"entries", entries}, {"truncated", false}});
    }
    return remove(path, query.count("recursive") != 0);
  }
  response remove(std::string const& path, bool recursive) {
    auto const inside = [&](std::string const& name) { return name.starts_with(path + "/"); };
    bool const full = std::any_of(files_.begin(), files_.end(),
                                  [&](auto const& item) { return inside(item.first); }) ||
                      std::any_of(directories_.begin(), directories_.end(), inside);
    if (full && !recursive)
      return error_reply(409, "not_empty", "'" + path + "' is not empty", 39);
    std::erase_if(files_, [&](auto const& item) { return item.first == path || inside(item.first); });
    std::erase_if(directories_, [&](auto const& name) { return name == path || inside(name); });
    return json_reply({{"ok", true}});
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::pair<std::string, reply>> replies_;
  std::vector<error> failures_;
  std::vector<fake_command> commands_;
  std::vector<process_ptr> processes_;
  std::int64_t processes_started_ = 0;
  std::map<std::string, stored_file> files_;
  std::set<std::string> directories_ = {"/root", "/tmp"};
};

}  // namespace hf::testing

#endif
