#include "exec/command_plan.hpp"

#include "confine/entry.hpp"
#include "exec/process_scan.hpp"
#include "exec/users.hpp"

#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

extern char** environ;

namespace hf::agent {
namespace {

std::string_view name_of(std::string_view entry) {
  return entry.substr(0, entry.find('='));
}

// The shell reads the script from memory that nobody can change.
unique_fd make_script(std::string const& text) {
  unique_fd script(static_cast<int>(
      ::syscall(SYS_memfd_create, "sbx-command", MFD_CLOEXEC | MFD_ALLOW_SEALING)));
  if (!script)
    throw start_error("/bin/sh", "exec", errno == ENOSYS ? E2BIG : errno);
  std::string_view rest = text;
  while (!rest.empty()) {
    ssize_t const n = ::write(script.get(), rest.data(), rest.size());
    if (n < 0 && errno == EINTR)
      continue;
    if (n <= 0)
      throw start_error("/bin/sh", "exec", n < 0 ? errno : ENOMEM);
    rest.remove_prefix(static_cast<std::size_t>(n));
  }
  ::fcntl(script.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
  return script;
}

std::vector<std::string> make_environment(wire::exec_request const& request,
                                          command_base const& base, std::string const& marker) {
  std::vector<std::string> environment;
  environment.reserve(base.environment.size() + request.env.size() + 1);
  for (auto const& entry : base.environment)
    if (request.env.empty() || request.env.count(std::string(name_of(entry))) == 0)
      environment.push_back(entry);
  for (auto const& variable : request.env)
    if (variable.first != run_marker_variable)
      environment.push_back(variable.first + "=" + variable.second);
  environment.push_back(std::string(run_marker_variable) + "=" + marker);
  return environment;
}

}  // namespace

std::vector<std::string> inherited_environment() {
  std::vector<std::string> result;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    auto const name = name_of(*entry);
    if (name != "SBX_TOKEN" && name != run_marker_variable)
      result.emplace_back(*entry);
  }
  return result;
}

command_plan make_plan(wire::exec_request const& request, command_base const& base,
                       std::string const& marker) {
  command_plan made;
  auto& plan = made.plan;
  if (auto const& text = request.script) {
    plan.argv = {"/bin/sh", "-c", *text};
    if (text->size() >= max_argument) {
      made.script = make_script(*text);
      plan.keep = made.script.get();
      plan.argv[2] = ". /proc/self/fd/" + std::to_string(plan.keep);
    }
  } else {
    plan.argv = request.argv;
  }
  plan.env = make_environment(request, base, marker);
  plan.cwd = request.cwd.value_or(base.cwd);
  // execve with an empty directory would mean the agent's own.
  if (request.cwd && request.cwd->empty())
    throw start_error(plan.argv.front(), "chdir", ENOENT);
  plan.user = base.user;
  if (request.user) {
    if (!base.may_choose_user)
      throw http_error{403, "permission_denied", "commands of this sandbox run as its own user"};
    plan.user = find_user(*request.user);
    if (!plan.user)
      throw http_error{
          400,
          "exec_failed",
          "failed to spawn '" + plan.argv.front() + "': no such user: " + *request.user,
          {{"stage", "user"}, {"errno", ENOENT}}};
  }
  plan.limits = base.limits;
  for (auto const& [name, most] : request.rlimits.items()) {
    auto const number = limit_by_name(name);
    if (!number)
      throw http_error{400, "invalid_argument", "'rlimits' has an unknown name: " + name};
    auto wanted = most.get<std::uint64_t>();
    for (auto const& [bounded, highest] : base.limits)
      if (bounded == *number && !base.may_raise_limits)
        wanted = (std::min)(wanted, highest);
    plan.limits.emplace_back(*number, wanted);
  }
  plan.nice = request.nice;
  if (base.nice != 0)
    plan.nice = base.nice + (std::max)(request.nice.value_or(0), 0);
  plan.oom_score = base.oom_score;
  plan.landlock_ruleset = base.landlock_ruleset;
  plan.no_new_privileges = base.no_new_privileges;
  plan.seccomp_filter =
      base.seccomp_filter != nullptr ? base.seccomp_filter : confine::command_filter();
  plan.drop_capabilities = base.drop_capabilities;
  plan.new_session = base.new_session;
  return made;
}

http_error start_error(std::string const& program, std::string_view stage, int error) {
  bool const exhausted = spawn_failure{stage, error}.exhausted();
  return {exhausted ? 503 : 400,
          exhausted ? "resource_exhausted" : "exec_failed",
          "failed to spawn '" + program + "': " + std::strerror(error) + " (os error " +
              std::to_string(error) + ")",
          {{"stage", std::string(stage)}, {"errno", error}}};
}

}  // namespace hf::agent
