const at = id => document.getElementById(id);
  const plain = text => String(text).replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, '\uFFFD'); // ids and messages are somebody else's text
  const make = (name, text, css) => { const e = document.createElement(name); e.textContent = plain(text); if (css) e.className = css; return e; };
  const set = (id, text, css) => { const e = at(id), shown = plain(text); if (e.textContent !== shown) e.textContent = shown; if (css !== undefined) e.className = css; };
  const count = n => n === null ? '–' : n.toLocaleString('en');
  const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
  const row = (cells, css) => { const tr = make('tr', '', css); cells.forEach(c => tr.append(c instanceof Node ? c : make('td', c))); return tr; };

  // this browser's time; with the day where it is another
  const when = iso => {
    const date = new Date(iso), today = date.toDateString() === new Date().toDateString();
    const time = make('time', isNaN(date) ? iso : (today ? '' : `${date.toLocaleDateString('en-CA')} `) + date.toLocaleTimeString('en-GB'));
    time.dateTime = time.title = iso;
    return time;
  };
