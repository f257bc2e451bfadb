export const gifs=()=>{},png=gifs,sideBySide=gifs;
