#include "support/fake_hub/fake_hub.hpp"

#include "support/fake_hub/network_namespace.hpp"
#include "support/fake_hub/state.hpp"

#include <hf/sandbox/detail/crypto.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace hf::testing_support {

namespace fake {

namespace {

constexpr char bucket_volume[] = "bucket:huggingface/sbx-server";

std::string read_file(std::string const& path) {
  std::error_code failed;
  auto const size = std::filesystem::file_size(path, failed);
  if (failed)
    return {};
  std::string out(static_cast<std::size_t>(size), '\0');
  std::ifstream file(path, std::ios::binary);
  file.read(out.data(), static_cast<std::streamsize>(size));
  return out;
}

}  // namespace

bool respond(connection& on, int status, std::string const& body, http::headers fields,
             bool no_body) {
  std::string out =
      "HTTP/1.1 " + std::to_string(status) + " " + std::string(reason_of(status)) + "\r\n";
  fields.add("X-Request-Id", "Root=1-" + detail::random_hex(8));
  if (!no_body || !body.empty())
    fields.add("Content-Length", std::to_string(body.size()));
  for (auto const& field : fields)
    out += field.name + ": " + field.value + "\r\n";
  out += "\r\n";
  if (!no_body)
    out += body;
  return on.write(out);
}

bool respond_json(connection& on, int status, nlohmann::json const& body, http::headers fields) {
  bool const keep = !http::iequals(fields.get("Connection"), "close");
  fields.add("Content-Type", "application/json; charset=utf-8");
  return respond(on, status, body.dump(), std::move(fields)) && keep;
}

state::state(fake_hub_options how) : options(std::move(how)) {
  if (options.agent.empty())
    if (char const* const agent = std::getenv("HF_SANDBOX_AGENT"))
      options.agent = agent;
  agent_bytes = read_file(options.agent);
  if (agent_bytes.empty())
    throw std::runtime_error("fake_hub: no agent at '" + options.agent + "'");
  agent_sha256 = detail::sha256_hex(agent_bytes);
  token = options.token;
  isolate = options.isolate && can_isolate();
  home_network = current_network_namespace();

  char made[] = "/tmp/fake-hub-XXXXXX";
  if (::mkdtemp(made) == nullptr)
    throw std::runtime_error("fake_hub: no temporary directory");
  directory = made;
  ::mkdir((directory + "/bucket").c_str(), 0755);
  volumes[bucket_volume] = directory + "/bucket";

  int const listener = listen_on(options.port);
  wake = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (listener < 0 || wake < 0)
    throw std::runtime_error("fake_hub: cannot listen");
  port = port_of(listener);
  listeners.push_back(listener);
  acceptor = std::thread([this] { accept_loop(); });
}

state::~state() {
  {
    std::lock_guard const lock(mutex);
    stopping = true;
    for (auto const& j : jobs)
      if (j->process)
        j->process->kill();
    changed.notify_all();
  }
  for (auto const& j : jobs)
    if (j->runner.joinable())
      j->runner.join();
  ::eventfd_write(wake, 1);
  acceptor.join();
  {
    std::lock_guard const lock(mutex);
    for (auto const& w : workers)
      if (w.fd >= 0)
        ::shutdown(w.fd, SHUT_RDWR);
  }
  for (auto& w : workers)
    w.thread.join();
  for (int const fd : listeners)
    ::close(fd);
  ::close(wake);
  ::close(home_network);
  std::error_code ignored;
  std::filesystem::remove_all(directory, ignored);
}

void state::add_listener(int fd) {
  {
    std::lock_guard const lock(mutex);
    listeners.push_back(fd);
  }
  ::eventfd_write(wake, 1);
}

void state::accept_loop() {
  for (;;) {
    std::vector<pollfd> ready{{wake, POLLIN, 0}};
    {
      std::lock_guard const lock(mutex);
      if (stopping)
        return;
      for (int const fd : listeners)
        ready.push_back({fd, POLLIN, 0});
    }
    if (::poll(ready.data(), ready.size(), -1) < 0)
      continue;
    eventfd_t ignored = 0;
    ::eventfd_read(wake, &ignored);
    for (std::size_t i = 1; i < ready.size(); ++i) {
      if (ready[i].revents == 0)
        continue;
      int const fd = ::accept4(ready[i].fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0)
        continue;
      int const on = 1;
      ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      std::lock_guard const lock(mutex);
      for (auto it = workers.begin(); it != workers.end();)
        if (it->done) {
          it->thread.join();
          it = workers.erase(it);
        } else {
          ++it;
        }
      auto& w = workers.emplace_back();
      w.fd = fd;
      w.thread = std::thread([this, &w, fd] {
        connection client(fd);
        try {
          serve(client);
        } catch (std::exception const&) {
          // The double is stopping, or the request made no sense at all.
        }
        std::lock_guard const inner(mutex);
        w.fd = -1;
        client.close();
        w.done = true;
      });
    }
  }
}

void state::serve(connection& on) {
  for (;;) {
    auto const text = on.read_head();
    if (!text)
      return;
    auto const parsed = parse_head(*text);
    auto rq = parsed ? parse_request(*parsed) : std::nullopt;
    if (!rq) {
      respond_json(on, 400, {{"error", "malformed request"}}, {{"Connection", "close"}});
      return;
    }
    static std::string const marker = "--49983.localhost";
    if (auto const at = rq->host.find(marker); at != std::string::npos) {
      if (!proxy(*this, on, *rq, rq->host.substr(0, at)))
        return;
      continue;
    }
    auto const size = content_length(rq->fields).value_or(0);
    if (size > (16u << 20) || rq->fields.contains("Transfer-Encoding")) {
      violation(*rq, "a body that is too large or chunked");
      respond_json(on, 400, {{"error", "body"}}, {{"Connection", "close"}});
      return;
    }
    if (!on.read_exactly(rq->body, static_cast<std::size_t>(size)))
      return;
    if (!answer_api(*this, on, *rq) || http::iequals(rq->fields.get("Connection"), "close"))
      return;
  }
}

std::optional<hub_fault> state::take_fault(hub_route where) {
  std::lock_guard const lock(mutex);
  for (auto& fault : faults) {
    if (fault.where != hub_route::any && fault.where != where)
      continue;
    if (fault.times == 0)
      continue;
    if (fault.skip > 0) {
      --fault.skip;
      continue;
    }
    if (fault.times > 0)
      --fault.times;
    return fault;
  }
  return std::nullopt;
}

void state::violation(request const& rq, std::string const& what) {
  std::lock_guard const lock(mutex);
  violations.push_back(rq.method + " " + rq.path + ": " + what);
}

void state::record(hub_route where, request const& rq, int status) {
  std::function<void(std::string const&)> log;
  {
    std::lock_guard const lock(mutex);
    seen.push_back(
        {where, rq.method, rq.host, rq.target, rq.fields, rq.body, status, clock::now()});
    log = options.log;
  }
  if (log)
    log(rq.method + " " + rq.host + rq.target + " -> " + std::to_string(status));
}

}  // namespace fake

fake_hub::fake_hub(fake_hub_options options)
    : self_(std::make_unique<implementation>(std::move(options))) {
  auto& self = *self_;
  {
    std::lock_guard const lock(self.mutex);
    self.bucket.push_back("sbx-server");
    std::ofstream(self.directory + "/bucket/sbx-server", std::ios::binary) << self.agent_bytes;
  }
  serve_agent_as(self.agent_sha256);
}

fake_hub::~fake_hub() = default;

std::string fake_hub::url() const {
  return "http://127.0.0.1:" + std::to_string(self_->port);
}
std::uint16_t fake_hub::port() const {
  return self_->port;
}
std::string fake_hub::token() const {
  std::lock_guard const lock(self_->mutex);
  return self_->token;
}
std::string fake_hub::agent_sha256() const {
  return self_->agent_sha256;
}
std::string fake_hub::agent_url() const {
  return url() + "/buckets/huggingface/sbx-server/resolve/sbx-server-" + self_->agent_sha256;
}
bool fake_hub::isolated() const {
  return self_->isolate;
}

void fake_hub::serve_agent_as(std::string const& sha256) {
  std::lock_guard const lock(self_->mutex);
  self_->bucket.push_back("sbx-server-" + sha256);
  auto const bucket = self_->directory + "/bucket/sbx-server";
  std::filesystem::create_hard_link(bucket, bucket + "-" + sha256);
}

void fake_hub::add_volume(std::string const& type, std::string const& source,
                          std::string const& directory) {
  std::lock_guard const lock(self_->mutex);
  self_->volumes[type + ":" + source] = directory;
}

void fake_hub::change_token(std::string const& token) {
  std::lock_guard const lock(self_->mutex);
  self_->token = token;
}

void fake_hub::set_credit(bool available) {
  std::lock_guard const lock(self_->mutex);
  self_->credit = available;
}

void fake_hub::add_fault(hub_fault fault) {
  std::lock_guard const lock(self_->mutex);
  self_->faults.push_back(std::move(fault));
}

void fake_hub::clear_faults() {
  std::lock_guard const lock(self_->mutex);
  self_->faults.clear();
}

void fake_hub::behave(job_behaviour how, int jobs) {
  std::lock_guard const lock(self_->mutex);
  for (int i = 0; i < jobs; ++i)
    self_->behaviours.push_back(how);
}

std::vector<seen_request> fake_hub::requests(hub_route route) const {
  std::lock_guard const lock(self_->mutex);
  std::vector<seen_request> out;
  for (auto const& seen : self_->seen)
    if (route == hub_route::any || seen.route == route)
      out.push_back(seen);
  return out;
}

std::size_t fake_hub::count(hub_route route) const {
  return requests(route).size();
}

void fake_hub::forget_requests() {
  std::lock_guard const lock(self_->mutex);
  self_->seen.clear();
}

std::vector<std::string> fake_hub::violations() const {
  std::lock_guard const lock(self_->mutex);
  return self_->violations;
}

std::vector<seen_job> fake_hub::jobs() const {
  std::lock_guard const lock(self_->mutex);
  std::vector<seen_job> out;
  for (auto const& j : self_->jobs) {
    seen_job seen{j->id, j->name_space, j->stage, j->message, j->request, j->labels, {}, {}};
    for (auto const& entry : j->log)
      seen.log.push_back(entry.line);
    if (j->process)
      seen.processes = j->process->members();
    out.push_back(std::move(seen));
  }
  return out;
}

seen_job fake_hub::job(std::string const& id) const {
  for (auto& seen : jobs())
    if (seen.id == id)
      return seen;
  throw std::runtime_error("fake_hub: no job " + id);
}

std::size_t fake_hub::live_jobs() const {
  std::lock_guard const lock(self_->mutex);
  std::size_t alive = 0;
  for (auto const& j : self_->jobs)
    if (!j->finished)
      ++alive;
  return alive;
}

bool fake_hub::wait_for_no_jobs(std::chrono::milliseconds longest) const {
  std::unique_lock lock(self_->mutex);
  return self_->changed.wait_for(lock, longest, [&] {
    for (auto const& j : self_->jobs)
      if (!j->finished)
        return false;
    return true;
  });
}

std::string fake_hub::start_job(nlohmann::json const& body) {
  return self_->create(self_->options.user, body)->id;
}

void fake_hub::fail_job(std::string const& id, std::string const& message) {
  std::lock_guard const lock(self_->mutex);
  if (auto const found = self_->find(id))
    self_->end(*found, "ERROR", message);
}

}  // namespace hf::testing_support
