// SPDX-License-Identifier: Apache-2.0
// The command: parses, runs one subcommand, turns errors into exit codes (docs/cli.md). commands() tells which subcommands
// there are: all of them in elek (all_commands.cpp), those that only run networks in elek-run (run_commands.cpp).
// Tests: tests/cli
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/advice.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/help_format.h"
#include "cli/refusal.h"
#include "core/error.h"
#include "core/mapped_names.h"
#include "core/runtime.h"

namespace {

// The first Ctrl-C (or SIGTERM) only sets a flag that long loops check, so that temporary files are removed before the exit.
// The second ends the process at once; files under their final names are whole at every moment, a temporary file may stay.
extern "C" void on_interrupt(int) {
  static std::atomic<bool> before{false};
  if (before.exchange(true)) _exit(130);
  elek::request_interrupt();
}

/// Allocates nothing, and may be called from a signal handler.
void write_plainly(std::string_view message) noexcept {
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, message.data(), message.size());
}

// Some functions of libraries promise to throw nothing, and allocate. Without memory they end the program here.
void on_terminate() noexcept {
  try {
    if (const std::exception_ptr error = std::current_exception()) std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    write_plainly("elek: error: out of memory\n");
    _exit(4);
  } catch (...) {  // a defect: its core file is of use
  }
  std::abort();
}

// Files are mapped, and a page of a mapped file that somebody truncates meanwhile is gone. No exception can leave a signal
// handler, so the process ends here; files under their final names are whole.
extern "C" void on_lost_page(int /*signal*/, siginfo_t* info, void* /*context*/) {
  const char* const name = elek::mapped_name_at(info->si_addr);
  write_plainly("elek: error: ");
  write_plainly(name != nullptr ? name : "a file");
  write_plainly(": became shorter while it was read, or its disk failed; read a file that nobody changes meanwhile\n");
  _exit(3);
}

// For the same reason a file-size limit must be a failed write, not a signal.
void install_signal_handlers() {
  struct sigaction action {};
  action.sa_handler = on_interrupt;
  (void)sigemptyset(&action.sa_mask);
  (void)sigaction(SIGINT, &action, nullptr);
  (void)sigaction(SIGTERM, &action, nullptr);
  (void)std::signal(SIGXFSZ, SIG_IGN);
  struct sigaction lost_page {};
  lost_page.sa_sigaction = on_lost_page;
  lost_page.sa_flags = SA_SIGINFO;
  (void)sigemptyset(&lost_page.sa_mask);
  (void)sigaction(SIGBUS, &lost_page, nullptr);
}

int fail(int exit_code, const std::string& message) {
  std::cerr << "elek: error: " << message << std::endl;
  return exit_code;
}

/// Says which option has an empty value, usually from a shell variable that is not set; it would be taken as 0 or as not given.
std::string empty_value(std::span<char* const> words) {
  std::string before;
  for (const std::string word : words) {
    if (word.empty())
      return "an argument is empty" + (before.empty() ? "" : ", after '" + before + "'") + "; is a variable unset?";
    if (word.starts_with("--") && word.ends_with('=')) return word + " has no value; is a variable unset?";
    before = word;
  }
  return "";
}

int run_command(int argc, char** argv) {
  const elek::cli::Commands commands = elek::cli::commands();
  CLI::App app(commands.description, commands.program);
  app.set_version_flag("--version", std::string("elek ") + ELEK_VERSION);
  app.require_subcommand(1);
  app.formatter(std::make_shared<elek::cli::HelpFormat>());  // the commands added below have it too
  app.footer(
      commands.examples +
      "\nDATA is idx:DIR[:train|test], images:DIR, cifar10:DIR[:train|test] or synthetic:N[:seed]. A slice [a:b] at its end\n"
      "takes the samples a to b-1.\n"
      "Exit codes: 0 success, 1 internal error, 2 wrong usage, 3 input or output error, 4 out of memory, 5 device not\n"
      "available, 6 slower than bench --fail-above allows, 130 interrupted.");
  elek::cli::remember_command_line({argv, static_cast<size_t>(std::max(argc, 0))});
  elek::cli::Run run;
  commands.add(app, run);
  if (const std::string empty = empty_value({argv + 1, static_cast<size_t>(std::max(argc, 1) - 1)}); !empty.empty()) {
    return fail(2, empty);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::RequiredError& error) {
    // A misspelt option is the cause more often than a missing one, and the parser reports what is missing first.
    for (const CLI::App* command : app.get_subcommands()) {
      if (const std::vector<std::string> rest = command->remaining(); !rest.empty()) {
        const std::string name = app.get_name() + " " + command->get_name();
        return fail(2, name + " does not know '" + rest.front() + "'; " + name + " --help lists its options");
      }
    }
    if (app.get_subcommands().empty() && argc > 1) {
      return fail(2, std::string("unknown command '") + argv[1] + "'; " + app.get_name() + " --help lists the commands");
    }
    (void)app.exit(error, std::cout, std::cerr);
    return 2;
  } catch (const CLI::ParseError& error) {
    return app.exit(error, std::cout, std::cerr) == 0 ? 0 : 2;
  }
  run();
  if (!std::cout.flush()) return fail(3, "standard output: could not be written; is the disk full?");
  return 0;
}

/// Runs the command and reports its error. Throws std::bad_alloc if there is no memory even for the message.
int run_and_report(int argc, char** argv) {
  try {
    return run_command(argc, argv);
  } catch (const elek::OutOfMemory& error) {
    return fail(error.exit_code(), std::string(error.what()) + elek::cli::refusal_text(error));
  } catch (const elek::Error& error) {
    return fail(error.exit_code(), elek::cli::message_with_advice(error));
  } catch (const std::bad_alloc&) {
    return fail(4, "out of memory: the system has no more memory");
  } catch (const std::exception& error) {
    return fail(1, std::string("internal error: ") + error.what());
  }
}

}  // namespace

int main(int argc, char** argv) {
  install_signal_handlers();
  (void)std::set_terminate(on_terminate);
  try {
    return run_and_report(argc, argv);
  } catch (...) {  // only a message's text can fail here: all errors were caught
    write_plainly("elek: error: out of memory: not enough even for a message\n");
    return 4;
  }
}
