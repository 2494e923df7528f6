using System.ComponentModel;
using System.ComponentModel.DataAnnotations;
using System.Globalization;
using System.Reflection;
using System.Text.Json;
using FaceEmbedWorker.Broker;
using FaceEmbedWorker.Faces;
using FaceEmbedWorker.Images;
using FaceEmbedWorker.Jobs;
using FaceEmbedWorker.Web;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Options;

namespace FaceEmbedWorker.Commands;

/// <summary>A setting is wrong. The message names it.</summary>
internal sealed class SettingsException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>
/// Settings from appsettings.json beside the program, then files <c>FaceEmbed__Section__Key</c> in the folder of secrets, then the same
/// names in the environment, then <c>--Section:Key=value</c>; the later wins.
/// </summary>
internal static class Settings
{
    public const string EnvironmentPrefix = "FaceEmbed__";

    /// <summary>In the environment: another folder of secrets than the one where Docker and many charts mount them.</summary>
    public const string SecretsVariable = "FACE_EMBED_SECRETS";

    private const string SettingsFile = "appsettings.json";
    private const string DefaultSecrets = "/run/secrets";

    /// <summary>Section -> class: every setting there is.</summary>
    public static readonly IReadOnlyDictionary<string, Type> Sections = new Dictionary<string, Type>(StringComparer.OrdinalIgnoreCase)
    {
        [BrokerOptions.Section] = typeof(BrokerOptions),
        [JobOptions.Section] = typeof(JobOptions),
        [ImageOptions.Section] = typeof(ImageOptions),
        [SourceOptions.Section] = typeof(SourceOptions),
        [ResultOptions.Section] = typeof(ResultOptions),
        [FaceOptions.Section] = typeof(FaceOptions),
        [HealthOptions.Section] = typeof(HealthOptions),
    };

    /// <summary>Parts the settings from the rest of a command line.</summary>
    public static (string[] Arguments, string[] Settings) Split(IReadOnlyList<string> arguments)
    {
        var (rest, settings) = (new List<string>(), new List<string>());
        for (var i = 0; i < arguments.Count; i++)
        {
            var argument = arguments[i];
            if (argument == "--") // what follows is no option, whatever it looks like
            {
                rest.AddRange(arguments.Skip(i));
                break;
            }

            var name = argument.Split('=')[0];
            if (!name.StartsWith("--", StringComparison.Ordinal) || !name.Contains(':'))
            {
                rest.Add(argument);
            }
            else if (argument.Contains('='))
            {
                settings.Add(argument);
            }
            else
            {
                settings.Add(i + 1 < arguments.Count ? $"{argument}={arguments[++i]}" : throw new SettingsException($"{argument} has no value. Write {argument}=VALUE; a file of that name goes behind --."));
            }
        }

        return ([.. rest], [.. settings]);
    }

    /// <summary>Reads them, and says of variables that are almost settings that nobody heeds them.</summary>
    /// <exception cref="SettingsException">The file of settings is no JSON.</exception>
    public static IConfigurationRoot Read(string[] commandLine)
    {
        foreach (var (name, setting) in Misnamed(Environment.GetEnvironmentVariables().Keys.Cast<string>()))
        {
            Screen.Complain($"{name} in the environment is not heeded: the setting is called {setting} there.");
        }

        try
        {
            return new ConfigurationBuilder()
                .SetBasePath(AppContext.BaseDirectory)
                .AddJsonFile(SettingsFile, optional: true)
                .AddInMemoryCollection(Secrets(Environment.GetEnvironmentVariable(SecretsVariable)))
                .AddEnvironmentVariables(EnvironmentPrefix)
                .AddCommandLine(commandLine)
                .Build();
        }
        catch (InvalidDataException e) when (e.GetBaseException() is JsonException fault)
        {
            throw new SettingsException($"The settings in {Path.Combine(AppContext.BaseDirectory, SettingsFile)} cannot be read: {JsonFault.Of(fault)}", e);
        }
    }

    /// <summary>
    /// Variables that are settings but for the prefix, which other programs do without (<c>Broker__Uri</c>) or write in other ways
    /// (<c>FACE_EMBED_BROKER__URI</c>).
    /// </summary>
    internal static IEnumerable<(string Name, string Setting)> Misnamed(IEnumerable<string> variables) =>
        from name in variables.Order(StringComparer.Ordinal)
        where !name.StartsWith(EnvironmentPrefix, StringComparison.OrdinalIgnoreCase)
        let plain = Bare(name).StartsWith(Bare(EnvironmentPrefix), StringComparison.Ordinal) ? Bare(name)[Bare(EnvironmentPrefix).Length..] : Bare(name)
        from section in Sections
        from setting in Of(section.Value).Where(s => (name.Contains("__", StringComparison.Ordinal) || plain != Bare(name)) && plain == Bare(section.Key + s.Name))
        select (name, $"{EnvironmentPrefix}{section.Key}__{setting.Name}");

    private static string Bare(string name) => name.Replace("_", "", StringComparison.Ordinal).Replace(".", "", StringComparison.Ordinal).ToUpperInvariant();

    /// <summary>One file a setting, so that a password is in no command line, no environment and no listing of either.</summary>
    /// <exception cref="SettingsException">The folder was named and cannot be read.</exception>
    private static Dictionary<string, string?> Secrets(string? named)
    {
        try
        {
            return string.IsNullOrEmpty(named) && !Directory.Exists(DefaultSecrets) ? [] : Directory.EnumerateFiles(string.IsNullOrEmpty(named) ? DefaultSecrets : named, $"{EnvironmentPrefix}*")
                .ToDictionary(f => Path.GetFileName(f)[EnvironmentPrefix.Length..].Replace("__", ":", StringComparison.Ordinal), f => (string?)File.ReadAllText(f).TrimEnd('\r', '\n'));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new SettingsException($"The secrets in {(string.IsNullOrEmpty(named) ? DefaultSecrets : named)} cannot be read: {OutputFile.Why("", e)} {SecretsVariable} names another folder.", e);
        }
    }

    /// <summary>Binds and validates every section.</summary>
    /// <exception cref="SettingsException">A name that is no setting, or a value out of range.</exception>
    public static IServiceCollection AddSettings(this IServiceCollection services, IConfiguration configuration)
    {
        foreach (var section in configuration.GetChildren().Where(s => !(Sections.ContainsKey(s.Key) || s.Key.Equals("Logging", StringComparison.OrdinalIgnoreCase))))
        {
            throw new SettingsException($"'{section.Key}' is no section of settings; there are {string.Join(", ", Sections.Keys)} and Logging.");
        }

        foreach (var section in configuration.GetChildren().Where(s => s.Value is not null))
        {
            throw new SettingsException($"{section.Key} is a section of settings and has no value of its own: write {section.Key}:NAME, in the environment {EnvironmentPrefix}{section.Key}__NAME.");
        }

        return services
            .AddSingleton(Renewed(Bind<BrokerOptions>(configuration, BrokerOptions.Section), configuration))
            .AddSingleton(Bind<JobOptions>(configuration, JobOptions.Section))
            .AddSingleton(Bind<ImageOptions>(configuration, ImageOptions.Section))
            .AddSingleton(Bind<SourceOptions>(configuration, SourceOptions.Section))
            .AddSingleton(Bind<ResultOptions>(configuration, ResultOptions.Section))
            .AddSingleton(Bind<FaceOptions>(configuration, FaceOptions.Section))
            .AddSingleton(Bind<HealthOptions>(configuration, HealthOptions.Section));
    }

    /// <summary>
    /// A login that comes from a file of secrets is read again for each connection; what the environment or the command line says stays.
    /// </summary>
    private static IOptions<BrokerOptions> Renewed(IOptions<BrokerOptions> options, IConfiguration configuration)
    {
        const string name = $"{BrokerOptions.Section}:{nameof(BrokerOptions.Uri)}";
        var folder = Environment.GetEnvironmentVariable(SecretsVariable);
        if (Secrets(folder).GetValueOrDefault(name) is { } secret && secret == configuration[name])
        {
            options.Value.ReadUri = () => ReadAgain(folder, name);
        }

        return options;
    }

    /// <returns>Null where it cannot be read at this moment, as while a file is being replaced.</returns>
    private static string? ReadAgain(string? folder, string name)
    {
        try
        {
            return Secrets(folder).GetValueOrDefault(name);
        }
        catch (SettingsException)
        {
            return null;
        }
    }

    /// <summary>The names of a class's settings.</summary>
    public static IEnumerable<PropertyInfo> Of(Type options) => options.GetProperties().Where(p => p.CanWrite);

    private static IOptions<T> Bind<T>(IConfiguration configuration, string name)
        where T : class, new()
    {
        var section = configuration.GetSection(name);
        var names = Of(typeof(T)).Select(p => p.Name).ToArray();
        foreach (var child in section.GetChildren().Where(c => !names.Contains(c.Key, StringComparer.OrdinalIgnoreCase)))
        {
            throw new SettingsException($"{name}:{child.Key} is no setting; section {name} has {string.Join(", ", names)}.");
        }

        foreach (var item in section.GetChildren().SelectMany(c => c.GetChildren()).Take(1))
        {
            var setting = item.Path[..^(item.Key.Length + 1)];
            throw new SettingsException($"{item.Path} is no setting; {setting} is one text, and a list in it has commas: {setting}=a,b.");
        }

        CheckValues(section, typeof(T));
        var options = new T();
        section.Bind(options);
        string[] wrong = [.. Of(typeof(T)).SelectMany(p => p.GetCustomAttributes<ValidationAttribute>().Where(a => !a.IsValid(p.GetValue(options))).Select(rule => $"{name}:{p.Name} {Broken(p, rule, p.GetValue(options))}"))];
        if (wrong.Length == 0 && options is IValidatableObject whole)
        {
            wrong = [.. whole.Validate(new ValidationContext(options)).Select(w => $"{name}:{w.MemberNames.FirstOrDefault()} is wrong: {w.ErrorMessage}")];
        }

        return wrong.Length == 0 ? Options.Create(options) : throw new SettingsException(string.Join(" ", wrong));
    }

    private static string Broken(PropertyInfo setting, ValidationAttribute rule, object? value) => rule switch
    {
        RequiredAttribute => "is empty, and must not be.",
        MaxLengthAttribute most => string.Create(CultureInfo.InvariantCulture, $"is longer than {most.Length} letters."),
        _ => string.Create(CultureInfo.InvariantCulture, $"is '{value}'; it can be {Allowed(setting)}."),
    };

    /// <summary>A binder would take numbers for words, add up several that a comma parts, and speak of its types.</summary>
    /// <exception cref="SettingsException">A value is nothing that its setting can be.</exception>
    private static void CheckValues(IConfigurationSection section, Type options)
    {
        foreach (var property in Of(options))
        {
            if (section[property.Name] is { } value && !IsOne(property.PropertyType, value.Trim()))
            {
                throw new SettingsException($"{section.Path}:{property.Name} is '{value}'; it can be {Allowed(property)}.");
            }
        }
    }

    private static bool IsOne(Type type, string value)
    {
        if (type.IsEnum)
        {
            return Enum.GetNames(type).Contains(value, StringComparer.OrdinalIgnoreCase);
        }

        try
        {
            return TypeDescriptor.GetConverter(type).ConvertFromInvariantString(value) is not null;
        }
        catch (Exception e) when (e is FormatException or ArgumentException or NotSupportedException)
        {
            return false;
        }
    }

    private static string Allowed(PropertyInfo setting) => setting.PropertyType switch
    {
        { IsEnum: true } type => Enum.GetNames(type) is [.. var others, var last] ? $"{string.Join(", ", others)} or {last}" : "",
        var type when type == typeof(bool) => "true or false",
        var type => $"a {(type == typeof(double) ? "" : "whole ")}number{(setting.GetCustomAttribute<RangeAttribute>() is { } range ? string.Create(CultureInfo.InvariantCulture, $" from {range.Minimum} to {range.Maximum}") : "")}",
    };
}
