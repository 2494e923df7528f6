using System.CommandLine;
using System.ComponentModel;
using System.Globalization;
using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Configuration.CommandLine;
using Microsoft.Extensions.Configuration.EnvironmentVariables;
using Microsoft.Extensions.Configuration.Memory;
using Microsoft.Extensions.DependencyInjection;

namespace FaceEmbedWorker.Commands;

/// <summary><c>face-embed settings</c>: every setting with its value, where that comes from, its default and what it means.</summary>
internal static partial class SettingsCommand
{
    private const string FromFile = "appsettings.json";

    public static void AddTo(RootCommand root, string[] settings)
    {
        var command = new Command("settings", "List every setting: its value, where that comes from, its default, what it means. Passwords are not shown.");
        command.SetAction(_ => List(settings));
        root.Add(command);
    }

    private static int List(string[] settings)
    {
        var configuration = Settings.Read(settings);
        foreach (var (section, type) in Settings.Sections)
        {
            var defaults = Activator.CreateInstance(type);
            foreach (var property in Settings.Of(type))
            {
                var name = $"{section}:{property.Name}";
                var usual = Convert.ToString(property.GetValue(defaults), CultureInfo.InvariantCulture)!;
                var (value, from) = Source(configuration, name) is { } found && !(found.From == FromFile && found.Value == usual) ? found : (usual, null);
                Screen.Say($"{name} = {Shown(value)}{(from is null ? "" : $"   [{from}; default: {(usual.Length > 0 ? Shown(usual) : "empty")}]")}");
                Screen.Say($"    {Link().Replace(property.GetCustomAttribute<DescriptionAttribute>()?.Description ?? "", "docs/$1")}");
            }
        }

        new ServiceCollection().AddSettings(configuration); // what is wrong with them is told after they are
        return ExitCode.Ok;
    }

    /// <summary>The value in force, and who says so; null where nobody does.</summary>
    private static (string Value, string? From)? Source(IConfigurationRoot configuration, string name)
    {
        foreach (var provider in configuration.Providers.Reverse())
        {
            if (provider.TryGet(name, out var value))
            {
                return (value ?? "", provider switch
                {
                    CommandLineConfigurationProvider => "command line",
                    EnvironmentVariablesConfigurationProvider => $"environment, {Settings.EnvironmentPrefix}{name.Replace(":", "__", StringComparison.Ordinal)}",
                    MemoryConfigurationProvider => "file of secrets",
                    _ => FromFile,
                });
            }
        }

        return null;
    }

    /// <summary>Of what is no address, as it should be one, nothing is shown that stands before its host.</summary>
    private static string Shown(string value) => value.Contains("://", StringComparison.Ordinal) ? Password().Replace(value, "$1:***@") : Login().Replace(value, "***@");

    [GeneratedRegex("^.*@", RegexOptions.Singleline)]
    private static partial Regex Login();

    /// <summary>Of docs/settings.md, to a page beside it.</summary>
    [GeneratedRegex(@"\[\w+\]\((\w+\.md)\)")]
    private static partial Regex Link();

    [GeneratedRegex("(://[^:/@]*):.*@", RegexOptions.Singleline)]
    private static partial Regex Password();
}
