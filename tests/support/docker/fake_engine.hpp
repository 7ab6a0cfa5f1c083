#ifndef HF_SANDBOX_TESTS_SUPPORT_DOCKER_FAKE_ENGINE_HPP
#define HF_SANDBOX_TESTS_SUPPORT_DOCKER_FAKE_ENGINE_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/url.hpp>

#include <nlohmann/json.hpp>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <string>
#include <vector>

namespace hf::testing_support {

/// How a request to the fake engine fails.
enum class engine_fault {
  none,
  /// No connection; the engine sees nothing.
  connect,
  /// The connection breaks before the engine has acted.
  request_lost,
  /// The engine acts, but its answer is lost.
  answer_lost,
  /// The engine answers 500 and does nothing.
  refused,
};

/// A transport behind which a Docker engine lives that keeps its containers in memory, with an
/// agent in each that answers /health only. Copies are the same engine.
class fake_engine {
 public:
  using json = nlohmann::json;

  struct container {
    std::string id;
    json body;
    std::string archive;
    bool running = false;
    bool ended = false;
    int listener = -1;
    /// Seconds since the epoch.
    std::int64_t created_at = std::time(nullptr);
  };

  struct state {
    std::mutex mutex;
    /// By name.
    std::map<std::string, container> containers;
    std::set<std::string> images{"img"};
    std::string api = "1.41";
    /// The request, counted from 0, that fails.
    int fault_at = -1;
    engine_fault fault = engine_fault::none;
    int requests = 0;
    std::vector<std::string> log;
    /// Host paths cannot be mounted.
    bool sees_no_files = false;
    /// Sockets in shared directories do not connect.
    bool dead_sockets = false;
    /// What the agent prints before it ends at once; empty: it stays.
    std::string last_words;
    /// CPUs of the engine's machine.
    int cpus = 64;
    int created = 0;
  };

  fake_engine() : state_(std::make_shared<state>()) {}

  state* operator->() const noexcept { return state_.get(); }

  void send(http::request const& rq, http::response_sink& sink) {
    http::response answer;
    {
      std::lock_guard const lock(state_->mutex);
      answer = serve(rq);
    }
    if (sink.on_head({answer.status, answer.fields}) == http::flow::stop)
      return;
    if (!answer.body.empty())
      static_cast<void>(sink.on_data(std::as_bytes(std::span(answer.body))));
  }

 private:
  static std::string env(json const& body, std::string const& name) {
    for (auto const& entry : body.at("Env")) {
      auto const text = entry.get<std::string>();
      if (text.starts_with(name + "="))
        return text.substr(name.size() + 1);
    }
    return {};
  }

  static http::response reply(int status, json const& body) {
    return {status, {{"Content-Type", "application/json"}}, body.dump()};
  }
  static http::response trouble(int status, std::string const& message) {
    return reply(status, {{"message", message}});
  }

  http::response serve(http::request const& rq) {
    auto const at = http::parse_url(rq.url);
    bool const agent = at.port == 4711 || at.host.ends_with(".localhost");
    int const n = state_->requests++;
    state_->log.push_back(rq.method + " " + at.target);
    auto const fault = n == state_->fault_at ? state_->fault : engine_fault::none;
    if (fault == engine_fault::connect)
      throw error(errc::connect_failed, "injected: no connection");
    if (fault == engine_fault::request_lost)
      throw error(errc::connection_lost, "injected: connection lost",
                  {.may_have_reached_peer = true});
    if (fault == engine_fault::refused)
      return trouble(500, "injected: refused");
    auto answer = agent ? agent_answer(rq, at) : engine_answer(rq, at.target);
    if (fault == engine_fault::answer_lost)
      throw error(errc::connection_lost, "injected: answer lost", {.may_have_reached_peer = true});
    return answer;
  }

  http::response agent_answer(http::request const& rq, http::url const& at) {
    for (auto const& [name, c] : state_->containers)
      if (c.running && env(c.body, "SBX_TOKEN") == rq.fields.get("X-Sandbox-Token") &&
          (at.port == 4711 || at.host.starts_with(c.id.substr(0, 12)))) {
        if (!rq.unix_socket.empty() && state_->dead_sockets)
          break;
        return reply(200, {{"status", "ok"}, {"protocol", 3}, {"version", "fake"}});
      }
    throw error(errc::connect_failed, "nobody listens");
  }

  http::response engine_answer(http::request const& rq, std::string target) {
    if (target == "/_ping")
      return {200, {{"Api-Version", state_->api}, {"OSType", "linux"}}, "OK"};
    auto const slash = target.find('/', 1);
    if (!target.starts_with("/v1.") || slash == std::string::npos)
      return trouble(404, "page not found");
    target = target.substr(slash);
    auto const question = target.find('?');
    auto const query = question == std::string::npos ? std::string() : target.substr(question + 1);
    target = target.substr(0, question);
    if (target == "/info")
      return reply(200, {{"NCPU", state_->cpus}});
    if (target == "/images/create") {
      auto const from = query.substr(query.find('=') + 1);
      auto const name = from.substr(0, from.find('&'));
      if (name == "nowhere")
        return reply(200, {{"error", "manifest for nowhere not found: manifest unknown"}});
      state_->images.insert(name);
      return reply(200, {{"status", "Downloading"},
                         {"id", "layer"},
                         {"progressDetail", {{"current", 5000000}, {"total", 10000000}}}});
    }
    if (target == "/containers/create")
      return create(query.substr(query.find("name=") + 5), json::parse(rq.body.text()));
    if (target == "/containers/json") {
      auto list = json::array();
      for (auto const& [name, c] : state_->containers)
        list.push_back({{"Id", c.id},
                        {"Labels", c.body.at("Labels")},
                        {"State", c.running ? "running"
                                  : c.ended ? "exited"
                                            : "created"},
                        {"Created", c.created_at}});
      return reply(200, list);
    }
    std::string const prefix = "/containers/";
    if (!target.starts_with(prefix))
      return trouble(404, "page not found");
    target = target.substr(prefix.size());
    auto const end = target.find('/');
    auto const id = target.substr(0, end);
    auto const what = end == std::string::npos ? std::string() : target.substr(end + 1);
    auto it = state_->containers.begin();
    while (it != state_->containers.end() && it->first != id && !it->second.id.starts_with(id))
      ++it;
    if (it == state_->containers.end())
      return trouble(404, "No such container: " + id);
    return use(rq, it, what);
  }

  http::response create(std::string const& name, json const& body) {
    auto const image = body.at("Image").get<std::string>();
    if (state_->images.count(image) == 0)
      return trouble(404, "No such image: " + image);
    if (state_->containers.count(name) != 0)
      return trouble(409, "Conflict. The container name is already in use");
    auto const& host = body.at("HostConfig");
    if (host.at("NanoCpus").get<double>() > state_->cpus * 1e9)
      return trouble(400, "Range of CPUs is from 0.01 to " + std::to_string(state_->cpus) +
                              ".00, as there are only so many available");
    if (state_->sees_no_files && !host.at("Mounts").empty())
      return trouble(400,
                     "invalid mount config for type \"bind\": bind source path does not exist: " +
                         host.at("Mounts")[0].at("Source").get<std::string>());
    char number[65];
    std::snprintf(number, sizeof number, "%064x", ++state_->created);
    // Different in the first twelve digits, as real ones are.
    std::string id(number);
    std::swap_ranges(id.begin(), id.begin() + 4, id.end() - 4);
    container made;
    made.id = id;
    made.body = body;
    state_->containers[name] = std::move(made);
    return reply(201, {{"Id", id}, {"Warnings", json::array()}});
  }

  using position = std::map<std::string, container>::iterator;

  http::response use(http::request const& rq, position it, std::string const& what) {
    auto& c = it->second;
    if (rq.method == "DELETE") {
      erase(it);
      return {204, {}, {}};
    }
    if (what == "archive") {
      c.archive = rq.body.text();
      return {200, {}, {}};
    }
    if (what == "start") {
      start(it);
      return {204, {}, {}};
    }
    if (what.starts_with("logs"))
      return {200, {}, c.ended ? state_->last_words : std::string()};
    if (what == "json") {
      json out{{"Id", c.id},
               {"State",
                {{"Status", c.running ? "running"
                            : c.ended ? "exited"
                                      : "created"},
                 {"ExitCode", c.ended ? 1 : 0}}},
               {"Config", {{"Labels", c.body.at("Labels")}, {"Env", c.body.at("Env")}}},
               {"NetworkSettings", {{"Ports", json::object()}, {"Networks", json::object()}}}};
      auto mounts = json::array();
      for (auto const& m : c.body.at("HostConfig").at("Mounts"))
        mounts.push_back({{"Source", m.at("Source")}, {"Destination", m.at("Target")}});
      out["Mounts"] = mounts;
      if (c.running && c.body.contains("ExposedPorts"))
        out["NetworkSettings"]["Ports"]["49983/tcp"] =
            json::array({{{"HostIp", "127.0.0.1"}, {"HostPort", "4711"}}});
      return reply(200, out);
    }
    return trouble(404, "page not found");
  }

  void start(position it) {
    auto& c = it->second;
    if (!state_->last_words.empty()) {
      if (c.body.at("HostConfig").at("AutoRemove").get<bool>())
        erase(it);
      else
        c.ended = true;
      return;
    }
    c.running = true;
    for (auto const& m : c.body.at("HostConfig").at("Mounts"))
      if (m.at("Target") == "/.hf-sandbox/run")
        c.listener = listen(m.at("Source").get<std::string>() + "/agent.sock");
  }

  // A real socket, because the launcher looks at the file itself.
  int listen(std::string const& path) const {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", path.c_str());
    int const fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(fd, reinterpret_cast<sockaddr const*>(&address), sizeof address) != 0)
      throw error(errc::internal, "the fake engine cannot bind " + path);
    if (!state_->dead_sockets)
      ::listen(fd, 1);
    return fd;
  }

  void erase(position it) {
    if (it->second.listener >= 0)
      ::close(it->second.listener);
    state_->containers.erase(it);
  }

  std::shared_ptr<state> state_;
};

}  // namespace hf::testing_support

#endif
