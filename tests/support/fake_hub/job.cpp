#include "support/fake_hub/network_namespace.hpp"
#include "support/fake_hub/state.hpp"

#include <hf/sandbox/detail/crypto.hpp>

#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ctime>
#include <filesystem>

namespace hf::testing_support::fake {

std::string time_text() {
  auto const now = std::chrono::system_clock::now();
  auto const seconds = std::chrono::system_clock::to_time_t(now);
  auto const ms =
      std::chrono::duration_cast<std::chrono::milliseconds>(now.time_since_epoch()) % 1000;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
  auto const digits = std::to_string(1000 + ms.count()).substr(1);
  return std::string(text) + "." + digits + "Z";
}

std::shared_ptr<job> state::find(std::string const& id) const {
  for (auto const& j : jobs)
    if (j->id == id)
      return j;
  return nullptr;
}

std::shared_ptr<job> state::create(std::string const& name_space, nlohmann::json const& body) {
  auto made = std::make_shared<job>();
  made->id = detail::random_hex(12);
  made->name_space = name_space;
  made->request = body;
  made->created_at = time_text();
  if (body.contains("labels"))
    made->labels = body["labels"].get<std::map<std::string, std::string>>();
  std::lock_guard const lock(mutex);
  if (stopping)
    throw std::runtime_error("the hub is stopping");
  if (!behaviours.empty()) {
    made->behaviour = behaviours.front();
    behaviours.pop_front();
  }
  jobs.push_back(made);
  made->runner = std::thread([this, made] { run(made); });
  return made;
}

void state::end(job& which, std::string const& stage, std::string const& message) {
  if (which.ended() || !which.end_stage.empty())
    return;
  which.end_stage = stage;
  which.end_message = message;
  if (!which.process) {
    which.stage = stage;
    which.message = message;
    which.finished_at = time_text();
  } else {
    which.process->kill();
  }
  changed.notify_all();
}

void state::run(std::shared_ptr<job> const& which) {
  {
    std::unique_lock lock(mutex);
    auto const wanted = [&] { return stopping || !which->end_stage.empty(); };
    if (which->behaviour.what == job_behaviour::kind::never_start)
      changed.wait(lock, wanted);
    else
      changed.wait_for(lock, options.scheduling, wanted);
    if (wanted()) {
      if (!which->ended())
        which->stage = "CANCELED";
      which->finished = true;
      changed.notify_all();
      return;
    }
  }
  run_process(which);
  std::lock_guard const lock(mutex);
  which->finished = true;
  if (which->network >= 0)
    ::close(which->network);
  which->network = -1;
  changed.notify_all();
}

namespace {

std::string with_boot_delay(job_behaviour const& how) {
  auto const ms = std::to_string(1000 + how.boot_delay.count() % 1000).substr(1);
  return "sleep " + std::to_string(how.boot_delay.count() / 1000) + "." + ms + "; exec \"$@\"";
}

void replace_command(job_behaviour const& how, std::vector<std::string>& argv) {
  switch (how.what) {
    case job_behaviour::kind::die_at_start:
      argv = {"/bin/sh", "-c",
              "for line; do echo \"$line\"; done; exit " + std::to_string(how.exit_code), "sh"};
      argv.insert(argv.end(), how.lines.begin(), how.lines.end());
      return;
    case job_behaviour::kind::never_ready:
      argv = {"/bin/sh", "-c", "for line; do echo \"$line\"; done; exec sleep 3600", "sh"};
      argv.insert(argv.end(), how.lines.begin(), how.lines.end());
      return;
    default:
      break;
  }
  if (how.boot_delay.count() > 0) {
    std::vector<std::string> wrapped{"/bin/sh", "-c", with_boot_delay(how), "sh"};
    wrapped.insert(wrapped.end(), argv.begin(), argv.end());
    argv = std::move(wrapped);
  }
}

}  // namespace

void state::run_process(std::shared_ptr<job> const& which) {
  job_command what;
  auto const& body = which->request;
  what.isolate = isolate;
  what.argv = body["command"].get<std::vector<std::string>>();
  for (auto const& word : body["arguments"])
    what.argv.push_back(word.get<std::string>());
  replace_command(which->behaviour, what.argv);
  what.environment = {{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
                      {"HOME", "/root"},
                      {"JOB_ID", which->id}};
  for (char const* const part : {"environment", "secrets"})
    if (body.contains(part))
      for (auto const& [name, value] : body[part].items())
        what.environment[name] = value.get<std::string>();
  what.directory = directory + "/" + which->id;
  ::mkdir(what.directory.c_str(), 0755);
  {
    std::lock_guard const lock(mutex);
    if (body.contains("volumes"))
      for (auto const& volume : body["volumes"]) {
        auto from = volumes.at(volume["type"].get<std::string>() + ":" +
                               volume["source"].get<std::string>());
        if (volume.contains("path"))
          from += "/" + volume["path"].get<std::string>();
        what.mounts.push_back(
            {from, volume["mountPath"].get<std::string>(), volume.value("readOnly", false)});
      }
  }

  int network = -1;
  int listener = -1;
  std::uint16_t agent_port = 49983;
  if (isolate && enter_new_network_namespace()) {
    network = current_network_namespace();
    listener = listen_on(port);
    if (listener >= 0)
      add_listener(listener);
  } else {
    int const probe = listen_on(0);
    agent_port = port_of(probe);
    ::close(probe);
    if (what.environment.count("SBX_PORT") != 0)
      what.environment["SBX_PORT"] = std::to_string(agent_port);
  }

  auto const started = clock::now();
  std::optional<clock::time_point> deadline;
  if (body.contains("timeoutSeconds"))
    deadline = started + std::chrono::seconds(body["timeoutSeconds"].get<std::int64_t>());
  int output = -1;
  {
    std::lock_guard const lock(mutex);
    which->network = network;
    which->port = agent_port;
    if (which->end_stage.empty() && !stopping)
      which->process = job_process::start(what);
    if (which->process) {
      which->stage = "RUNNING";
      which->started_at = time_text();
      which->log.push_back({time_text(), "===== Job started at " + time_text() + " ====="});
      output = which->process->output();
    }
    changed.notify_all();
  }
  std::optional<int> code;
  if (output >= 0) {
    std::string partial;
    for (bool open = true; open || !code;) {
      pollfd ready{output, POLLIN, 0};
      if (open && ::poll(&ready, 1, 20) > 0) {
        char bytes[16384];
        auto const got = ::read(output, bytes, sizeof bytes);
        std::lock_guard const lock(mutex);
        if (got <= 0) {
          open = false;
          if (!partial.empty())
            which->log.push_back({time_text(), partial});
        } else {
          partial.append(bytes, static_cast<std::size_t>(got));
          for (std::size_t end = 0; (end = partial.find('\n')) != std::string::npos;) {
            which->log.push_back({time_text(), partial.substr(0, end)});
            partial.erase(0, end + 1);
          }
        }
        changed.notify_all();
      } else if (!open) {
        ::usleep(2000);
      }
      std::lock_guard const lock(mutex);
      if (!code)
        code = which->process->ended();
      // Without isolation a straggler could hold the pipe.
      if (code && open && !isolate && !which->end_stage.empty())
        open = false;
      if (stopping && !code)
        which->process->kill();
      if (deadline && clock::now() >= *deadline && !code)
        end(*which, "ERROR", "Job timeout reached");
    }
    ::close(output);
  }
  {
    std::lock_guard const lock(mutex);
    which->process.reset();
    if (!which->ended()) {
      which->finished_at = time_text();
      if (!which->end_stage.empty()) {
        which->stage = which->end_stage;
        which->message = which->end_message;
      } else if (code && *code == 0) {
        which->stage = "COMPLETED";
      } else {
        which->stage = "ERROR";
        which->message = "Job failed with exit code: " + std::to_string(code.value_or(-1));
      }
    }
    changed.notify_all();
  }
  std::error_code ignored;
  std::filesystem::remove_all(what.directory, ignored);
}

std::string state::proxy_url(job const& which) const {
  return "http://" + which.id + "--49983.localhost:" + std::to_string(port);
}

nlohmann::json state::info(job const& which) const {
  auto const text_or_null = [](std::string const& text) {
    return text.empty() ? nlohmann::json() : nlohmann::json(text);
  };
  auto const& rq = which.request;
  auto const member = [&](char const* name) {
    return rq.contains(name) ? rq[name] : nlohmann::json();
  };
  auto urls = nlohmann::json();
  if (rq.contains("expose") && !which.ended() &&
      (options.urls_while_scheduling || which.stage == "RUNNING")) {
    urls = nlohmann::json::array();
    for (auto const& exposed : rq["expose"]["ports"])
      urls.push_back("http://" + which.id + "--" + std::to_string(exposed.get<int>()) +
                     ".localhost:" + std::to_string(port));
  }
  auto secrets = nlohmann::json::array();
  if (rq.contains("secrets"))
    for (auto const& [name, value] : rq["secrets"].items())
      secrets.push_back(name);
  // The stage shows the end that was asked for at once, as the Hub does.
  auto const stage = which.end_stage.empty() || which.ended() ? which.stage : which.end_stage;
  return {
      {"id", which.id},
      {"createdAt", which.created_at},
      {"startedAt", text_or_null(which.started_at)},
      {"finishedAt", text_or_null(which.finished_at)},
      {"dockerImage", member("dockerImage")},
      {"spaceId", member("spaceId")},
      {"command", rq["command"]},
      {"arguments", rq["arguments"]},
      {"environment", rq["environment"]},
      {"secrets", secrets},
      {"flavor", rq["flavor"]},
      {"labels", which.labels},
      {"volumes", member("volumes")},
      {"status",
       {{"stage", stage},
        {"message", text_or_null(which.message)},
        {"exposeUrls", urls},
        {"sshUrl", nullptr}}},
      {"durations", {{"schedulingSecs", 0}, {"runningSecs", 0}, {"totalSecs", 0}}},
      {"owner",
       {{"id", "id-of-" + which.name_space},
        {"name", which.name_space},
        {"type", which.name_space == options.user ? "user" : "org"}}},
      {"initiator", {{"type", "user"}, {"id", "id-of-" + options.user}, {"name", options.user}}},
      {"aFieldOfTheFuture", {{"ignored", true}}}};
}

}  // namespace hf::testing_support::fake
